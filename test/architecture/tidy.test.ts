// What no linter of ours knows: words that must not be in the tree, the shape of a protocol folder,
// the length of files, and that the generated code is what the .proto files say.

import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join, sep } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { ROOT } from './canary-tree.ts'

const run = promisify(execFile)

const SKIPPED = new Set([
  ...['node_modules', 'dist', 'bundle', 'gen', 'canaries', 'coverage'],
  ...['.git', '.cache', '.robust'],
])
const TEXT = /\.(ts|mts|mjs|js|c|proto|md|json|ya?ml|sh)$|^\.ci\/|Dockerfile/
const CODE = /\.(ts|mts|mjs|js)$/
const FILES_MIN = 200
const LINES_MAX = 500
const PURE = [
  /^broker\/src\/(core|functions)\//,
  /^broker\/src\/protocols\/[^/]+\/(codec\/|packets\.ts|session\.ts)/,
  /^raft\/src\/core\//,
  /^placement\/src\/metadata\//,
]
/** What each protocol folder has; more is its own matter. */
const PROTOCOL_FILES = [
  'README.md',
  'codec',
  'connection.ts',
  'errors.ts',
  'handlers',
  'mapping.ts',
  'packets.ts',
  'server.ts',
  'session.ts',
]

async function walk(folder: string): Promise<string[]> {
  const files: string[] = []
  for (const entry of await readdir(join(ROOT, folder), { withFileTypes: true })) {
    if (SKIPPED.has(entry.name)) continue
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (entry.isDirectory()) files.push(...(await walk(path)))
    else if (entry.isFile() && entry.name !== 'package-lock.json') files.push(path)
  }
  return files
}

const texts = new Map<string, string>()
for (const file of await walk('')) {
  if (TEXT.test(file)) texts.set(file, await readFile(join(ROOT, file), 'utf8'))
}

/** `file:line text` of every line that matches in the files that are meant. */
function linesWith(pattern: RegExp, meant: (file: string) => boolean): string[] {
  const found: string[] = []
  for (const [file, text] of texts) {
    if (!meant(file) || file === 'test/architecture/tidy.test.ts') continue
    for (const [index, line] of text.split('\n').entries()) {
      if (pattern.test(line)) found.push(`${file}:${index + 1} ${line.trim()}`)
    }
  }
  return found
}

const isCode = (file: string): boolean => CODE.test(file)
const isPure = (file: string): boolean =>
  PURE.some((folder) => folder.test(file)) && !file.endsWith('.test.ts')

describe('the tree', () => {
  it('is read', () => {
    expect([...texts.keys()].filter(isCode).length).toBeGreaterThan(FILES_MIN)
    expect([...texts.keys()].filter(isPure).length).toBeGreaterThan(20)
  })

  it('takes no chance in pure folders', () => {
    expect(linesWith(/Math\.random|randomUUID|randomBytes/, isPure)).toEqual([])
  })

  it('switches no type check off', () => {
    const words = /\bas any\b(?! (?!as\b)[a-z])|<any>|@ts-(ignore|expect-error|nocheck)/
    expect(linesWith(words, isCode)).toEqual([])
  })

  it('names no path of a machine', () => {
    expect(linesWith(/(?<![\w.$}/])\/(work|root|home)\//, () => true)).toEqual([])
  })

  it('leaves no work without an issue', () => {
    expect(linesWith(/\b(TODO|FIXME|XXX|HACK)\b(?! ?\(?#\d+)/, () => true)).toEqual([])
  })

  it(`has no file of code above ${LINES_MAX} lines`, () => {
    const long = [...texts].filter(([file]) => isCode(file))
    const lines = long.map(([file, text]) => [file, text.trimEnd().split('\n').length] as const)
    expect(lines.filter(([, count]) => count > LINES_MAX)).toEqual([])
  })

  it('locks no registry address', async () => {
    const lock = await readFile(join(ROOT, 'package-lock.json'), 'utf8')
    expect(lock.match(/"resolved": "(https?|git)[^"]*"/g) ?? []).toEqual([])
  })
})

describe('a protocol folder', async () => {
  const folders = await readdir(join(ROOT, 'broker/src/protocols'))
  const protocols = folders.filter((name) => name !== 'shared')

  it('is there', () => expect(protocols).toContain('mqtt'))

  it.each(protocols)('%s has the agreed files', async (protocol) => {
    const names = await readdir(join(ROOT, 'broker/src/protocols', protocol))
    expect(PROTOCOL_FILES.filter((name) => !names.includes(name))).toEqual([])
  })
})

describe('generated code', () => {
  it('is what the .proto files say', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'robust-proto-'))
    try {
      await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
      await cp(join(ROOT, 'scripts'), join(folder, 'scripts'), { recursive: true })
      await cp(join(ROOT, 'proto'), join(folder, 'proto'), {
        recursive: true,
        filter: (path) => !path.includes(`${sep}gen`) && !path.includes(`${sep}dist`),
      })
      await regenerate(folder)
      const generated = await readTree(join(folder, 'proto/src/gen'))
      expect(generated.size).toBeGreaterThan(5)
      const stale = [...generated].filter(([name, text]) => text !== committed.get(name))
      expect(stale.map(([name]) => name)).toEqual([])
      expect([...committed.keys()].sort()).toEqual([...generated.keys()].sort())
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }, 60_000)
})

const committed = await readTree(join(ROOT, 'proto/src/gen'))

/** Runs the commands of proto's `generate` script, with the tools of this repository and no network. */
async function regenerate(folder: string): Promise<void> {
  const manifest = await readFile(join(folder, 'proto/package.json'), 'utf8')
  const { scripts } = JSON.parse(manifest) as { scripts: { generate: string } }
  const path = [join(ROOT, 'node_modules/.bin'), process.env['PATH'] ?? ''].join(delimiter)
  const env = { ...process.env, PATH: path }
  await run('sh', ['-c', scripts.generate], { cwd: join(folder, 'proto'), env })
}

async function readTree(folder: string): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    files.set(path.slice(folder.length + 1), await readFile(path, 'utf8'))
  }
  return files
}
