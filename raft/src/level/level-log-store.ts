/**
 * The log and the election state in LevelDB, one synced batch per write. LevelDB does not protect its
 * contents by itself, so each record carries a checksum, each batch rewrites the bounds of the log and a
 * running number, and opening checks all of it. A damaged log is an error, never a shorter log.
 */
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import type { LogEntry } from '../core/messages.ts'
import { LogDamagedError, LogIdentityError } from '../errors.ts'
import type {
  HardState,
  LogIdentity,
  LogPosition,
  LogStore,
  LogWrite,
  StoredLog,
} from '../ports/log-store.ts'
import { decodeEntry, decodeJsonRecord, encodeEntry, encodeJsonRecord } from '../record.ts'
import { Watermark } from './watermark.ts'

export interface LevelLogStoreOptions {
  /** Created when missing; used by one process at a time. */
  readonly directory: string
}

interface Bounds {
  readonly base: LogPosition
  readonly lastIndex: number
  /** Of the write that wrote this record. */
  readonly sequence: number
}

type Batch = Pick<ReturnType<ClassicLevel<string, Uint8Array>['batch']>, 'put' | 'del'>

const IDENTITY_KEY = 'm:identity'
const HARD_STATE_KEY = 'm:hard-state'
const BOUNDS_KEY = 'm:bounds'
const ENTRY_PREFIX = 'e:'
const ENTRY_END = 'e;'
const READ_BATCH = 500

export class LevelLogStore implements LogStore {
  readonly #directory: string
  #db: ClassicLevel<string, Uint8Array> | undefined
  #watermark: Watermark | undefined
  #bounds: Bounds = { base: { index: 0, term: 0 }, lastIndex: 0, sequence: 0 }
  #writing: Promise<void> = Promise.resolve()
  #failure: unknown

  constructor(options: LevelLogStoreOptions) {
    this.#directory = options.directory
  }

  async open(identity: LogIdentity): Promise<StoredLog> {
    await mkdir(this.#directory, { recursive: true })
    const watermarkPath = join(this.#directory, 'watermark')
    try {
      this.#watermark = await Watermark.open(watermarkPath)
      const db = await openDatabase(join(this.#directory, 'log'))
      this.#db = db
      const identityRecord = await readRecord(db, IDENTITY_KEY)
      if (identityRecord === undefined) {
        if ((this.#watermark?.value ?? 0) > 0 || (await firstKey(db)) !== undefined) {
          throw new LogDamagedError('the log has lost its identity record')
        }
        return await this.#initialise(db, identity)
      }
      checkIdentity(identityRecord, identity)
      return await this.#load(db)
    } catch (error) {
      await this.close()
      throw asDamage(error)
    }
  }

  /** The watermark is durable before the first record is, so a record without one means damage. */
  async #initialise(
    db: ClassicLevel<string, Uint8Array>,
    identity: LogIdentity,
  ): Promise<StoredLog> {
    this.#watermark ??= await Watermark.create(join(this.#directory, 'watermark'))
    await syncDirectory(this.#directory)
    const hardState: HardState = { term: 0, votedFor: undefined }
    this.#bounds = { base: { index: 0, term: 0 }, lastIndex: 0, sequence: 1 }
    await db.batch(
      [
        { type: 'put', key: IDENTITY_KEY, value: encodeJsonRecord({ ...identity }) },
        { type: 'put', key: HARD_STATE_KEY, value: encodeHardState(hardState) },
        { type: 'put', key: BOUNDS_KEY, value: encodeBounds(this.#bounds) },
      ],
      { sync: true },
    )
    this.#watermark.advance(1)
    return { hardState, base: this.#bounds.base, entries: [] }
  }

  async #load(db: ClassicLevel<string, Uint8Array>): Promise<StoredLog> {
    const hardState = parseHardState(await readRecord(db, HARD_STATE_KEY))
    this.#bounds = parseBounds(await readRecord(db, BOUNDS_KEY))
    const { base, lastIndex, sequence } = this.#bounds
    if (this.#watermark === undefined) throw new LogDamagedError('the watermark file is gone')
    if (sequence < this.#watermark.value) {
      throw new LogDamagedError(
        `write ${this.#watermark.value} was durable but the log ends with write ${sequence}`,
      )
    }
    // Left over from a compaction that was interrupted.
    await db.clear({ gte: ENTRY_PREFIX, lt: entryKey(base.index + 1) })
    const entries = await readEntries(db, base)
    const found = base.index + entries.length
    if (found !== lastIndex) {
      throw new LogDamagedError(`the log must end at ${lastIndex} but ends at ${found}`)
    }
    const lastTerm = entries.at(-1)?.term ?? base.term
    if (hardState.term < lastTerm) {
      throw new LogDamagedError(`the term ${hardState.term} is behind the log's ${lastTerm}`)
    }
    return { hardState, base, entries }
  }

  write(write: LogWrite): Promise<void> {
    this.#writing = this.#write(write)
    return this.#writing
  }

  async #write(write: LogWrite): Promise<void> {
    const db = this.#db
    if (db === undefined) throw new Error('the log store is closed')
    if (this.#failure !== undefined) {
      throw new Error('an earlier write failed', { cause: this.#failure })
    }
    // A chained batch: the library takes eight times as long over an array of operations.
    const batch = db.batch()
    try {
      const bounds = planWrite(this.#bounds, write, batch)
      await batch.write({ sync: true })
      this.#bounds = bounds
      this.#watermark?.advance(bounds.sequence)
      if (write.compactTo !== undefined) {
        // Not synced: what a crash leaves is removed at the next open.
        await db.clear({ gte: ENTRY_PREFIX, lt: entryKey(bounds.base.index + 1) })
      }
    } catch (error) {
      this.#failure = error
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => undefined)
    const [db, watermark] = [this.#db, this.#watermark]
    this.#db = undefined
    this.#watermark = undefined
    await watermark?.close()
    await db?.close()
  }
}

/** Puts the change into the batch; returns the bounds that hold after it. */
function planWrite(before: Bounds, write: LogWrite, batch: Batch): Bounds {
  let { base, lastIndex } = before
  if (write.hardState !== undefined) batch.put(HARD_STATE_KEY, encodeHardState(write.hardState))
  const keepUntil = write.reset !== undefined ? base.index : (write.truncateFrom ?? Infinity) - 1
  for (let index = keepUntil + 1; index <= lastIndex; index += 1) {
    batch.del(entryKey(index))
  }
  lastIndex = Math.min(lastIndex, keepUntil)
  if (write.reset !== undefined) {
    base = write.reset
    lastIndex = base.index
  }
  for (const entry of write.entries) {
    batch.put(entryKey(entry.index), encodeEntry(entry))
    lastIndex = entry.index
  }
  base = write.compactTo ?? base
  const bounds = { base, lastIndex, sequence: before.sequence + 1 }
  batch.put(BOUNDS_KEY, encodeBounds(bounds))
  return bounds
}

async function openDatabase(path: string): Promise<ClassicLevel<string, Uint8Array>> {
  const db = new ClassicLevel<string, Uint8Array>(path, {
    keyEncoding: 'utf8',
    valueEncoding: 'view',
  })
  await db.open()
  return db
}

async function readRecord(
  db: ClassicLevel<string, Uint8Array>,
  key: string,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const value = await db.get(key)
  return value === undefined ? undefined : decodeJsonRecord(value)
}

async function firstKey(db: ClassicLevel<string, Uint8Array>): Promise<string | undefined> {
  return (await db.keys({ limit: 1 }).all())[0]
}

async function readEntries(
  db: ClassicLevel<string, Uint8Array>,
  base: LogPosition,
): Promise<readonly LogEntry[]> {
  const entries: LogEntry[] = []
  let { index, term } = base
  const iterator = db.iterator({ gte: entryKey(base.index + 1), lt: ENTRY_END })
  try {
    for (;;) {
      const batch = await iterator.nextv(READ_BATCH)
      if (batch.length === 0) return entries
      for (const [key, value] of batch) {
        const entry = decodeEntry(value)
        index += 1
        if (key !== entryKey(index) || entry.index !== index || entry.term < term) {
          throw new LogDamagedError(`entry ${index} of the log is missing or out of place`)
        }
        term = entry.term
        entries.push(entry)
      }
    }
  } finally {
    await iterator.close()
  }
}

function checkIdentity(record: Readonly<Record<string, unknown>>, identity: LogIdentity): void {
  if (record['clusterId'] === identity.clusterId && record['nodeId'] === identity.nodeId) return
  throw new LogIdentityError(
    `the log belongs to node ${String(record['nodeId'])} of cluster ${String(record['clusterId'])}`,
  )
}

function encodeHardState(hardState: HardState): Uint8Array {
  return encodeJsonRecord({ term: hardState.term, votedFor: hardState.votedFor ?? null })
}

function parseHardState(record: Readonly<Record<string, unknown>> | undefined): HardState {
  const votedFor = record?.['votedFor']
  if (votedFor !== null && typeof votedFor !== 'string') {
    throw new LogDamagedError('the record of term and vote is missing or malformed')
  }
  return { term: readIndexField(record, 'term'), votedFor: votedFor ?? undefined }
}

function encodeBounds(bounds: Bounds): Uint8Array {
  return encodeJsonRecord({
    baseIndex: bounds.base.index,
    baseTerm: bounds.base.term,
    lastIndex: bounds.lastIndex,
    sequence: bounds.sequence,
  })
}

function parseBounds(record: Readonly<Record<string, unknown>> | undefined): Bounds {
  return {
    base: { index: readIndexField(record, 'baseIndex'), term: readIndexField(record, 'baseTerm') },
    lastIndex: readIndexField(record, 'lastIndex'),
    sequence: readIndexField(record, 'sequence'),
  }
}

function readIndexField(
  record: Readonly<Record<string, unknown>> | undefined,
  field: string,
): number {
  const value = record?.[field]
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new LogDamagedError(`the log has no valid ${field}`)
}

/** Sorts by index: sixteen hexadecimal digits. */
function entryKey(index: number): string {
  return ENTRY_PREFIX + index.toString(16).padStart(16, '0')
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** What LevelDB or a record reports as corruption becomes the error of the port; the rest stays. */
function asDamage(error: unknown): unknown {
  const codes = [error, error instanceof Error ? error.cause : undefined].map(codeOf)
  const isDamage =
    codes.includes('LEVEL_CORRUPTION') ||
    (error instanceof Error && error.name === 'RecordDamagedError') ||
    error instanceof SyntaxError
  return isDamage ? new LogDamagedError('the log cannot be read', { cause: error }) : error
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
