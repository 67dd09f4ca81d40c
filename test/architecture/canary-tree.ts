// Copies a tree of canaries to a temporary folder and gives it node_modules, so that the project's own
// rules, which speak of paths below the root, apply to it unchanged.

import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The folders with code of ours, below the root. */
export const CODE_FOLDERS = [
  'proto',
  'raft',
  'storage-adapters',
  'placement',
  'broker',
  'cli',
  'test',
  'scripts',
] as const

const LIBRARIES = [
  '@bufbuild/protobuf',
  '@grpc/grpc-js',
  'classic-level',
  'fastify',
  'pino',
  'prom-client',
  'undeclared-package',
  'ws',
] as const

export interface CanaryTree {
  readonly path: string
  /** The files with code, relative to `path`, and their text. */
  readonly files: ReadonlyMap<string, string>
  remove(): Promise<void>
}

/** `name` is a folder below canaries/. */
export async function plantCanaries(name: 'boundaries' | 'biome'): Promise<CanaryTree> {
  const path = await mkdtemp(join(tmpdir(), `robust-canaries-${name}-`))
  await cp(join(ROOT, 'test/architecture/canaries', name), path, { recursive: true })
  for (const library of LIBRARIES) await installEmpty(path, library)
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory() && entry.name !== 'node_modules') await linkWorkspace(path, entry.name)
  }
  const files = new Map<string, string>()
  for (const entry of await readdir(path, { recursive: true })) {
    const file = String(entry)
    if (!file.endsWith('.ts') || file.startsWith('node_modules')) continue
    files.set(file, await readFile(join(path, file), 'utf8'))
  }
  return { path, files, remove: () => rm(path, { recursive: true, force: true }) }
}

async function installEmpty(root: string, library: string): Promise<void> {
  const folder = join(root, 'node_modules', library)
  await mkdir(folder, { recursive: true })
  const manifest = { name: library, version: '0.0.0', type: 'module', main: 'index.js' }
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest))
  await writeFile(join(folder, 'index.js'), 'export {}\n')
}

async function linkWorkspace(root: string, folder: string): Promise<void> {
  const manifest = await readFile(join(root, folder, 'package.json'), 'utf8').catch(() => undefined)
  if (manifest === undefined) return
  const { name } = JSON.parse(manifest) as { name: string }
  const link = join(root, 'node_modules', name)
  await mkdir(dirname(link), { recursive: true })
  await symlink(join(root, folder), link)
}
