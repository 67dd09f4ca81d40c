/** The LevelDB binding as the adapter uses it: byte keys, byte values, and its errors as the port's. */
import { ClassicLevel } from 'classic-level'
import { StorageError } from '../errors.ts'
import type { KeyRange } from './keys.ts'

export type Engine = ClassicLevel<Buffer, Buffer>
export type Snapshot = ReturnType<Engine['snapshot']>

/**
 * Bytes of writes that LevelDB keeps in memory and in its log before it writes a table. The write ledger
 * has to span two of these: change both together.
 */
const writeBufferBytes = 8 * 1024 * 1024

/** Rejects with UNAVAILABLE when another process has the directory, DATA_LOSS when it cannot be read. */
export async function openEngine(path: string): Promise<Engine> {
  const engine: Engine = new ClassicLevel(path, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    // Record batches are compressed by who writes them, and a flipped bit should cost one value only.
    compression: false,
    writeBufferSize: writeBufferBytes,
    cacheSize: 32 * 1024 * 1024,
    blockSize: 16 * 1024,
    maxFileSize: 8 * 1024 * 1024,
  })
  try {
    await engine.open()
    return engine
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined
    if (codeOf(cause) === 'LEVEL_LOCKED') {
      throw new StorageError('UNAVAILABLE', `${path} is in use by another process`, { cause })
    }
    throw asStorageError(cause ?? error, `Cannot open ${path}`)
  }
}

/** The port's error for what the engine threw; a StorageError stays itself. */
export function asStorageError(error: unknown, what: string): StorageError {
  if (error instanceof StorageError) return error
  const reason = error instanceof Error ? error.message : String(error)
  const code = isDamage(error, reason) ? 'DATA_LOSS' : 'UNAVAILABLE'
  return new StorageError(code, `${what}: ${reason}`, { cause: error })
}

export interface WalkOptions {
  readonly snapshot?: Snapshot
  readonly reverse?: boolean
  /** Entries at most. */
  readonly limit?: number
  /** Bytes to fetch in one go. */
  readonly pageBytes?: number
}

/** Pages of entries in key order. The event loop runs between the pages. */
export async function* walk(
  engine: Engine,
  range: KeyRange,
  options: WalkOptions = {},
): AsyncGenerator<[Buffer, Buffer][]> {
  const iterator = engine.iterator({
    gte: range.from,
    lt: range.to,
    limit: options.limit ?? -1,
    reverse: options.reverse ?? false,
    fillCache: false,
    highWaterMarkBytes: options.pageBytes ?? 256 * 1024,
    ...(options.snapshot && { snapshot: options.snapshot }),
  })
  try {
    for (;;) {
      const page = await iterator.nextv(pageEntries)
      if (page.length === 0) return
      yield page
    }
  } finally {
    await iterator.close()
  }
}

/** Pages of keys in order. */
export async function* walkKeys(engine: Engine, range: KeyRange): AsyncGenerator<Buffer[]> {
  const iterator = engine.keys({ gte: range.from, lt: range.to, fillCache: false })
  try {
    for (;;) {
      const page = await iterator.nextv(pageEntries)
      if (page.length === 0) return
      yield page
    }
  } finally {
    await iterator.close()
  }
}

const pageEntries = 1000

/**
 * LevelDB calls a table that ends before what is looked for in it an invalid argument of its own read, and
 * tells so by nothing but the text.
 */
function isDamage(error: unknown, reason: string): boolean {
  const code = codeOf(error)
  return (
    code === 'LEVEL_CORRUPTION' ||
    (code === 'LEVEL_IO_ERROR' && /\.(ldb|log|sst).*(Invalid argument|No such file)/.test(reason))
  )
}

/** What can be saved of a damaged database, as one that can be opened; unreadable tables go to `lost/`. */
export async function repairEngine(path: string): Promise<void> {
  try {
    await ClassicLevel.repair(path)
  } catch (error) {
    throw asStorageError(error, `Cannot repair ${path}`)
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
