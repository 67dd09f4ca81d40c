// Builds load.c once and runs it. A scenario that the program could not finish, or in which a message
// was lost, doubled or reordered, is a LoadError: such a figure is not worth printing.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { access, mkdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { LoadResult, Scenario } from './scenarios.ts'

const run = promisify(execFile)
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/robust-bench', import.meta.url))

export class LoadError extends Error {}

export interface LoadTarget {
  port: number
  /** The broker's processes, whose time and memory are counted. */
  pids: number[]
}

/**
 * Compiles a load program, a file below this folder, unless that was done before; returns where it is. Throws LoadError.
 */
export async function buildLoadProgram(file = 'load.c', libraries = ''): Promise<string> {
  const source = fileURLToPath(new URL(file, import.meta.url))
  const hash = createHash('sha256')
    .update(await readFile(source))
    .digest('hex')
    .slice(0, 16)
  const program = join(CACHE, `load-${hash}`)
  try {
    await access(program)
    return program
  } catch {
    await mkdir(CACHE, { recursive: true })
  }
  const fresh = `${program}.${process.pid}`
  try {
    const flags = libraries === '' ? [] : libraries.split(' ').map((name) => `-l${name}`)
    await run('cc', ['-O2', '-o', fresh, source, ...flags])
  } catch (error) {
    throw new LoadError(
      'the load program is written in C and needs a compiler named cc (Debian: apt install gcc libc6-dev) and its libraries',
      { cause: error },
    )
  }
  await rename(fresh, program)
  return program
}

/** Runs one scenario against one broker. `prefix` is put before the command, to pin it to a core. */
export async function runLoad(
  program: string,
  scenario: Scenario,
  options: LoadTarget & { seconds: number; prefix: string[] },
): Promise<LoadResult> {
  const settings = { ...scenario.settings, port: options.port, seconds: options.seconds }
  const words = [
    ...options.prefix,
    program,
    scenario.mode,
    ...Object.entries(settings).map(([key, value]) => `${key}=${value}`),
    ...options.pids.map((pid) => `pid=${pid}`),
  ]
  const [command = program, ...args] = words
  const { stdout } = await run(command, args, { timeout: 120_000 }).catch((error: unknown) => {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : ''
    throw new LoadError(stderr === '' ? 'the load program did not finish' : stderr, {
      cause: error,
    })
  })
  const result: LoadResult = JSON.parse(stdout)
  const { expected = 0, received = 0, disorder = 0 } = result
  if (received !== expected) {
    throw new LoadError(`${expected} messages had to arrive, ${received} did`)
  }
  if (disorder > 0) throw new LoadError(`${disorder} messages were doubled or out of order`)
  return result
}
