/**
 * Keys in Redis. All keys of a shard have its number as their hash tag, so that they are in one slot and
 * one script may touch them. A log's name is last, so that no name can reach into another key.
 *
 *     PREFIX:identity        hash    format, id, and a field per shard that was ever opened
 *     PREFIX:{SHARD}:head    string  head of the shard
 *     PREFIX:{SHARD}:logs    hash    log -> head of the log
 *     PREFIX:{SHARD}:log:LOG stream  batches; id: next offset - bytes of the log up to here
 *     PREFIX:{SHARD}:old:LOG zset    batches that took the place of others (a stream takes none in its middle),
 *                                    all with score 0; next offset, bytes up to here, bytes saved, batch
 *     PREFIX:{SHARD}:values  hash    key -> value
 *     PREFIX:{SHARD}:keys    zset    keys, all with score 0: in the order of their bytes
 */

export interface ShardKeys {
  readonly head: string
  readonly logs: string
  readonly values: string
  readonly keys: string
  readonly logPrefix: string
  readonly oldPrefix: string
}

export function shardKeys(prefix: string, shard: number): ShardKeys {
  const place = `${prefix}:{${shard}}:`
  return {
    head: `${place}head`,
    logs: `${place}logs`,
    values: `${place}values`,
    keys: `${place}keys`,
    logPrefix: `${place}log:`,
    oldPrefix: `${place}old:`,
  }
}

export function identityKey(prefix: string): string {
  return `${prefix}:identity`
}

/** What checksums are bound to: the same under another prefix. */
export const sealKeys = {
  head: (shard: number): Buffer => Buffer.from(`head ${shard}`),
  log: (shard: number, log: string): Buffer => Buffer.from(`log ${shard} ${log}`),
  batch: (shard: number, log: string, nextOffset: number): Buffer =>
    Buffer.from(`batch ${shard} ${nextOffset} ${log}`),
  value: (shard: number, key: string): Buffer => Buffer.from(`value ${shard} ${key}`),
}

/** Of a batch in its stream. Both parts grow with every batch. */
export interface BatchId {
  readonly nextOffset: number
  /** Bytes of all batches of the log ever, this one included. */
  readonly endByte: number
}

export function formatBatchId({ nextOffset, endByte }: BatchId): string {
  return `${nextOffset}-${endByte}`
}

export function parseBatchId(id: string): BatchId {
  const [nextOffset, endByte] = id.split('-').map(Number)
  return { nextOffset: nextOffset ?? 0, endByte: endByte ?? 0 }
}

/** Digits of each number at the head of a member of an `old` set: their order is that of the bytes. */
const digits = 16

/** Where members with at least this next offset begin. */
export function oldFrom(nextOffset: number): string {
  return String(nextOffset).padStart(digits, '0')
}

export interface OldBatch extends BatchId {
  /** Bytes of what it took the place of, less its own. */
  readonly saved: number
}

export function formatOldHead({ nextOffset, endByte, saved }: OldBatch): string {
  return [nextOffset, endByte, saved].map(oldFrom).join('')
}

export function parseOldHead(head: string): OldBatch {
  const [nextOffset = 0, endByte = 0, saved = 0] = [0, 1, 2].map((at) =>
    Number(head.slice(at * digits, (at + 1) * digits)),
  )
  return { nextOffset, endByte, saved }
}
