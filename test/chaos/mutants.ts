/** A copy of the compiled product with one fault planted in it: what the chaos suite must find. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

export interface Mutation {
  /** Compiled file, from the root. */
  readonly file: string
  /** Each is there exactly once. */
  readonly changes: readonly (readonly [found: string, planted: string])[]
}

export interface Mutant {
  /** Its command. */
  readonly program: string
  remove(): void
}

const ROOT = resolve(import.meta.dirname, '../..')
const COPIED = ['cli', 'broker', 'storage-adapters', 'placement', 'proto', 'raft', 'chaos']

/** Throws when what is to be changed is not there any more. */
export function plant({ file, changes }: Mutation): Mutant {
  const root = mkdtempSync(join(tmpdir(), 'robust-mutant-'))
  for (const workspace of COPIED) {
    for (const part of ['package.json', 'dist', 'bin', 'src/gen', 'scenarios']) {
      const from = join(ROOT, workspace, part)
      if (existsSync(from)) cpSync(from, join(root, workspace, part), { recursive: true })
    }
  }
  linkPackages(root)
  const path = join(root, file)
  let text = readFileSync(path, 'utf8')
  for (const [found, planted] of changes) {
    if (text.split(found).length !== 2) throw new Error(`${file} has not exactly one: ${found}`)
    text = text.replace(found, () => planted)
  }
  writeFileSync(path, text)
  const remove = (): void => rmSync(root, { recursive: true, force: true })
  return { program: join(root, 'cli/bin/robust.js'), remove }
}

/** Those of others as they are, ours to the copies. */
function linkPackages(root: string): void {
  const modules = join(root, 'node_modules')
  mkdirSync(join(modules, '@robust'), { recursive: true })
  for (const name of readdirSync(join(ROOT, 'node_modules'))) {
    if (name === '@robust' || name === 'raft-ts' || name.startsWith('.')) continue
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
  }
  symlinkSync(join(root, 'raft'), join(modules, 'raft-ts'))
  for (const name of readdirSync(join(ROOT, 'node_modules/@robust'))) {
    symlinkSync(join(root, name), join(modules, '@robust', name))
  }
}
