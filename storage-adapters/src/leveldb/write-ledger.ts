/**
 * A ring of the numbers of the last writes, one entry per synced write. When LevelDB recovers after a
 * crash it silently skips the parts of its log that are damaged, synced or not; a missing number shows
 * it. Spans more writes than its log can hold, so that no skipped one goes unseen unless it was the last.
 *
 * Each entry also tells, for every shard written since the start, the last write that touched it before
 * this one. What the first entry behind a gap says of the writes in the gap is all that they touched:
 * those shards have lost something, the others have not.
 */
import { StorageError } from '../errors.ts'
import { readCount, sealValue, unsealValue, writeCount } from '../sealed-values.ts'
import { type Engine, walk } from './engine.ts'
import { ledgerKey, ledgerRange, slotOf } from './keys.ts'
import type { WriteOperation } from './write-group.ts'

/** The smallest write takes about 120 bytes of the two write buffers that can be in the log. */
const slots = 2 ** 17
/** With more shards an entry would outweigh what it is for; a gap then counts for all of them. */
const shardsMax = 512
const shardEntryBytes = 12

export interface LedgerEntry {
  readonly number: number
  /** Last write of each shard before this one; undefined: not told. */
  readonly touched: ReadonlyMap<number, number> | undefined
}

export interface LedgerDamage {
  /** For people. */
  readonly text: string
  /** The shards that have lost writes; undefined: it may be any. */
  readonly shards: ReadonlySet<number> | undefined
}

export class WriteLedger {
  /** Undefined when nothing is missing. */
  readonly damage: LedgerDamage | undefined
  #last: number
  readonly #touched = new Map<number, number>()

  constructor(last: number, damage?: LedgerDamage) {
    this.#last = last
    this.damage = damage
  }

  /** `watermark`: what was told beside the database of its last write. */
  static async load(engine: Engine, watermark?: LedgerEntry): Promise<WriteLedger> {
    const entries = new Map<number, LedgerEntry>()
    const unreadable: number[] = []
    for await (const page of walk(engine, ledgerRange)) {
      for (const [key, stored] of page) {
        const entry = readEntry(key, stored)
        if (entry === undefined) unreadable.push(slotOf(key))
        else entries.set(entry.number, entry)
      }
    }
    const last = Array.from(entries.keys()).reduce((a, b) => Math.max(a, b), 0)
    const tail = tailDamage(watermark, last)
    return new WriteLedger(last, joinDamage(findDamage(entries, last, unreadable), tail))
  }

  /** Number of the last write. */
  get last(): number {
    return this.#last
  }

  /** What is missing of the shard, for people. */
  damageOf(shard: number): string | undefined {
    if (this.damage === undefined) return undefined
    const { text, shards } = this.damage
    return shards === undefined || shards.has(shard) ? text : undefined
  }

  /** The entry for the next write, which touches these shards. */
  next(shards: Iterable<number>): WriteOperation {
    const number = this.#last + 1
    const payload = this.#encode(number)
    this.#last = number
    for (const shard of shards) this.#touched.set(shard, number)
    const key = ledgerKey(number % slots)
    return { type: 'put', key, value: sealValue(key, payload) }
  }

  /** The last write and the last one of each shard: what a watermark tells. */
  encode(): Buffer {
    return this.#encode(this.#last)
  }

  #encode(number: number): Buffer {
    const told = this.#touched.size <= shardsMax ? this.#touched : new Map<number, number>()
    const payload = Buffer.allocUnsafe(8 + 1 + shardEntryBytes * told.size)
    writeCount(payload, 0, number)
    payload[8] = told === this.#touched ? 1 : 0
    let at = 9
    for (const [shard, write] of told) {
      payload.writeUInt32BE(shard, at)
      writeCount(payload, at + 4, write)
      at += shardEntryBytes
    }
    return payload
  }
}

/** Operations that forget all entries. */
export async function clearLedger(engine: Engine): Promise<WriteOperation[]> {
  const operations: WriteOperation[] = []
  for await (const page of walk(engine, ledgerRange)) {
    for (const [key] of page) operations.push({ type: 'del', key })
  }
  return operations
}

/** The tail that a watermark tells of and the database has not. */
function tailDamage(watermark: LedgerEntry | undefined, last: number): LedgerDamage | undefined {
  if (watermark === undefined || watermark.number <= last) return undefined
  const { number, touched } = watermark
  const later = Array.from(touched ?? []).filter(([, write]) => write > last)
  return {
    text: `the last ${number - last} synced writes are missing`,
    shards: touched && new Set(later.map(([shard]) => shard)),
  }
}

function joinDamage(
  one: LedgerDamage | undefined,
  other: LedgerDamage | undefined,
): LedgerDamage | undefined {
  if (one === undefined || other === undefined) return one ?? other
  const isAny = one.shards === undefined || other.shards === undefined
  return {
    text: `${one.text}; ${other.text}`,
    shards: isAny ? undefined : new Set([...(one.shards ?? []), ...(other.shards ?? [])]),
  }
}

function findDamage(
  entries: ReadonlyMap<number, LedgerEntry>,
  last: number,
  unreadable: readonly number[],
): LedgerDamage | undefined {
  const shards = new Set<number>()
  let isAny = false
  let missing = 0
  let [gapFrom, gapTo, first] = [0, 0, 0]
  for (let number = Math.max(1, last - slots + 1); number <= last; number += 1) {
    const entry = entries.get(number)
    if (entry === undefined) {
      missing += 1
      if (gapFrom === 0) gapFrom = number
      gapTo = number
      first ||= number
      continue
    }
    if (gapFrom !== 0) isAny ||= !explainGap(entry, { from: gapFrom, to: gapTo }, shards)
    gapFrom = 0
  }
  // An entry that cannot be read is one of the numbers that are missing, or the newest of all.
  const isNewestUnreadable = unreadable.includes((last + 1) % slots)
  if (missing === 0 && !isNewestUnreadable) return undefined
  const count = missing + (isNewestUnreadable ? 1 : 0)
  const from = first === 0 ? last + 1 : first
  return {
    text: `${count} synced writes are missing or damaged (from number ${from} on)`,
    shards: isAny || isNewestUnreadable ? undefined : shards,
  }
}

/** Adds the shards that the gap has touched; false when the entry behind it does not tell. */
function explainGap(
  { touched }: LedgerEntry,
  gap: { from: number; to: number },
  shards: Set<number>,
): boolean {
  if (touched === undefined) return false
  for (const [shard, write] of touched) {
    if (write >= gap.from && write <= gap.to) shards.add(shard)
  }
  return true
}

function readEntry(key: Buffer, stored: Buffer): LedgerEntry | undefined {
  let payload: Buffer
  try {
    payload = unsealValue(key, stored)
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'DATA_LOSS') throw error
    return undefined
  }
  return decodeLedgerEntry(payload)
}

export function decodeLedgerEntry(payload: Buffer): LedgerEntry {
  const number = readCount(payload, 0)
  // Older versions told the number only.
  if (payload[8] !== 1) return { number, touched: undefined }
  const touched = new Map<number, number>()
  for (let at = 9; at < payload.length; at += shardEntryBytes) {
    touched.set(payload.readUInt32BE(at), readCount(payload, at + 4))
  }
  return { number, touched }
}
