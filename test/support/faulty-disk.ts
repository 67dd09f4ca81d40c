/** A disk that loses power or breaks under one process: storage/faults/disk.c, compiled here. */
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const SOURCE = resolve(import.meta.dirname, '../storage/faults/disk.c')

export interface FaultyDisk {
  /** The folder that can lose what was not synced. */
  readonly folder: string
  /** For the process that shall live on it. */
  readonly environment: NodeJS.ProcessEnv
  /** From now on: `fsync` fails, `write` fails, `lie` about syncs, `free BYTES`; undefined: all is well. */
  fault(kind: string | undefined): void
  /**
   * After the process was killed: of what each file has beyond its last sync, a share goes (1: all of it).
   * How many bytes went.
   */
  losePower(share: () => number): number
  /** All that is there now counts as synced. For what a process without the library has written. */
  settle(): void
  remove(): void
}

let library: string | undefined

/**
 * Undefined, with a loud word, where there is no C compiler; an error in CI. The library stays until the
 * process ends.
 */
export function buildFaultyDisk(): string | undefined {
  if (library !== undefined) return library
  const file = join(mkdtempSync(join(tmpdir(), 'robust-disk-')), 'disk.so')
  try {
    execFileSync('cc', ['-O1', '-shared', '-fPIC', '-o', file, SOURCE, '-ldl'], { stdio: 'pipe' })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const message = `NO FAULTY DISK: ${reason}. Power loss and disk errors are NOT tested.`
    if (process.env['CI'] === 'true') throw new Error(message, { cause: error })
    process.stderr.write(`[storage] ${message}\n`)
    return undefined
  }
  process.once('exit', () => rmSync(file, { force: true }))
  library = file
  return file
}

export function createFaultyDisk(preload: string): FaultyDisk {
  const home = mkdtempSync(join(tmpdir(), 'robust-disk-'))
  const folder = join(home, 'data')
  const [log, fault] = [join(home, 'log'), join(home, 'fault')]
  execFileSync('mkdir', [folder])
  return {
    folder,
    environment: {
      LD_PRELOAD: preload,
      DISK_ROOT: folder,
      DISK_LOG: log,
      DISK_FAULT: fault,
    },
    fault: (kind) => {
      if (kind === undefined) rmSync(fault, { force: true })
      else writeFileSync(fault, kind)
    },
    losePower: (share) => {
      const synced = readLog(log)
      let lost = 0
      for (const path of filesIn(folder)) {
        const size = statSync(path).size
        const unsynced = size - Math.min(size, synced.get(path) ?? 0)
        const going = Math.ceil(unsynced * share())
        if (going > 0) truncateSync(path, size - going)
        lost += going
      }
      return lost
    },
    settle: () => {
      const lines = filesIn(folder).map((path) => `S ${statSync(path).size} ${path}\n`)
      writeFileSync(log, lines.join(''))
    },
    remove: () => rmSync(home, { recursive: true, force: true }),
  }
}

/** Bytes of each file that were synced, by its name now. */
function readLog(log: string): Map<string, number> {
  const synced = new Map<string, number>()
  if (!existsSync(log)) return synced
  for (const line of readFileSync(log, 'utf8').split('\n')) {
    if (line.startsWith('S ')) {
      const [, bytes = '', path = ''] = /^S (\d+) (.*)$/.exec(line) ?? []
      synced.set(path, Number(bytes))
    } else if (line.startsWith('R ')) {
      const [from = '', to = ''] = line.slice(2).split('\t')
      synced.set(to, synced.get(from) ?? 0)
      synced.delete(from)
    }
  }
  return synced
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
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
