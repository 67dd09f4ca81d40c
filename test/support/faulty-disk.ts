/** A disk that loses power or breaks under one process, for tests. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildFaultLibrary, type ProcessFaults, processFaults } from '@robust/cli'

export interface FaultyDisk extends Omit<ProcessFaults, 'disk'> {
  /** The folder that can lose what was not synced. */
  readonly folder: string
  /** As `disk` of ProcessFaults. */
  fault(kind: string | undefined): void
  remove(): void
}

let library: string | undefined

/**
 * Undefined, with a loud word, where there is no C compiler; an error in CI. The library stays until the
 * process ends.
 */
export function buildFaultyDisk(): string | undefined {
  if (library !== undefined) return library
  const folder = mkdtempSync(join(tmpdir(), 'robust-disk-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  try {
    library = buildFaultLibrary(folder)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const message = `NO FAULTY DISK: ${reason}. Power loss and disk errors are NOT tested.`
    if (process.env['CI'] === 'true') throw new Error(message, { cause: error })
    process.stderr.write(`[storage] ${message}\n`)
  }
  return library
}

export function createFaultyDisk(preload: string): FaultyDisk {
  const home = mkdtempSync(join(tmpdir(), 'robust-disk-'))
  const folder = join(home, 'data')
  mkdirSync(folder)
  const faults = processFaults({ library: preload, controls: join(home, 'faults'), root: folder })
  return {
    ...faults,
    folder,
    fault: faults.disk,
    remove: () => rmSync(home, { recursive: true, force: true }),
  }
}

/** Numbers from 0 up to 1 that a seed repeats; the seed is printed. */
export function seeded(name: string): () => number {
  let state = Number(process.env['ROBUST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  process.stdout.write(`[storage] ${name}: ROBUST_SEED=${state}\n`)
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff
    return state / 0x8000_0000
  }
}
