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

/** In a compiled file (from the root), where what is found is exactly once. */
export type Mutation = readonly (readonly [file: string, found: string, planted: string])[]

export interface Mutant {
  /** Its command. */
  readonly program: string
  remove(): void
}

const ROOT = resolve(import.meta.dirname, '../..')
const COPIED = ['cli', 'broker', 'storage-adapters', 'placement', 'proto', 'raft', 'chaos']

/** Throws when what is to be changed is not there any more. */
export function plant(mutation: Mutation): Mutant {
  const root = mkdtempSync(join(tmpdir(), 'robust-mutant-'))
  for (const workspace of COPIED) {
    for (const part of ['package.json', 'dist', 'bin', 'faults', 'src/gen', 'scenarios']) {
      const from = join(ROOT, workspace, part)
      if (existsSync(from)) cpSync(from, join(root, workspace, part), { recursive: true })
    }
  }
  linkPackages(root)
  for (const [file, found, planted] of mutation) {
    const path = join(root, file)
    const text = readFileSync(path, 'utf8')
    if (text.split(found).length !== 2) throw new Error(`${file} has not exactly one: ${found}`)
    writeFileSync(
      path,
      text.replace(found, () => planted),
    )
  }
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
