/** What breaks under one process: its disk, by a folder, and its wall clock. How: ../../faults/faults.c. */
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { makeFolder } from '../cluster/folders.ts'

export interface ProcessFaults {
  /** For the process that shall live with it. */
  readonly environment: NodeJS.ProcessEnv
  /**
   * From now on: `fsync` fails, `write` fails, the disk is `full`, `lie` about syncs, `free BYTES`; undefined: all
   * is well.
   */
  disk(kind: string | undefined): void
  /** The time of day is so far ahead, ms; below 0: behind. */
  clock(aheadMs: number): void
  /**
   * After the process was killed: of what each file has beyond its last sync, a share goes (1: all of it).
   * How many bytes went.
   */
  losePower(share: () => number): number
  /** All that is there now counts as synced: before a process starts, and for what others have written. */
  settle(): void
}

export interface FaultPlace {
  /** Of faults.so. */
  readonly library: string
  /** Of what tells the library what to do; is made. */
  readonly controls: string
  /** What is below it can be lost. */
  readonly root: string
}

const OFFSET_BYTES = 8
const NS_IN_MS = 1e6

export function processFaults({ library, controls, root }: FaultPlace): ProcessFaults {
  makeFolder(controls, 'folder of faults')
  const [log, fault, offset] = ['log', 'fault', 'clock'].map((name) => join(controls, name)) as [
    string,
    string,
    string,
  ]
  if (!existsSync(offset)) writeFileSync(offset, Buffer.alloc(OFFSET_BYTES))
  return {
    environment: {
      ...{ LD_PRELOAD: library, DISK_ROOT: root },
      ...{ DISK_LOG: log, DISK_FAULT: fault, CLOCK_OFFSET: offset },
    },
    disk: (kind) => {
      if (kind === undefined) rmSync(fault, { force: true })
      else writeFileSync(fault, kind)
    },
    clock: (aheadMs) => {
      const bytes = Buffer.alloc(OFFSET_BYTES)
      bytes.writeBigInt64LE(BigInt(Math.round(aheadMs * NS_IN_MS)))
      // In its place: the process has it mapped.
      const file = openSync(offset, 'r+')
      writeSync(file, bytes, 0, OFFSET_BYTES, 0)
      closeSync(file)
    },
    losePower: (share) => {
      const synced = readLog(log)
      let lost = 0
      for (const path of filesIn(root)) {
        const size = statSync(path).size
        const unsynced = size - Math.min(size, synced.get(path) ?? 0)
        const going = Math.ceil(unsynced * share())
        if (going > 0) truncateSync(path, size - going)
        lost += going
      }
      return lost
    },
    settle: () => {
      const lines = filesIn(root).map((path) => `S ${statSync(path).size} ${path}\n`)
      writeFileSync(log, lines.join(''))
    },
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
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}
