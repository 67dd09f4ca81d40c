/**
 * What is measured on a storage: appends that wait for their commit, reading back, and opening with many
 * logs. Records have 256 B of value; a producer has one shard, and so many commits on their way.
 */
import { encodeRecordBatch, type StorageAdapter, setBaseOffset } from '@robust/storage-adapters'

export const PRODUCERS = 64
const VALUE_BYTES = 256
const owner = 'bench/1'

/** One batch of so many records, to be stamped with its offset. */
export function template(records: number): Uint8Array {
  const value = Buffer.alloc(VALUE_BYTES, 'robust')
  const all = Array.from({ length: records }, () => ({
    timestamp: 1_700_000_000_000,
    key: null,
    value,
    headers: [],
  }))
  return encodeRecordBatch(all, { baseOffset: 0, leaderEpoch: 1 })
}

export interface AppendResult {
  readonly recordsPerSecond: number
  readonly p99Ms: number
}

/** Of every peer: JavaScript and its processes are at their speed then. */
export const WARM_UP_SECONDS = 2

/** Appends for so many seconds after the warm-up; a record counts when its commit is acknowledged. */
export async function append(
  adapter: StorageAdapter,
  options: { records: number; seconds: number; epoch: number; window?: number },
): Promise<AppendResult> {
  const { records, seconds, epoch, window = 1 } = options
  const batch = template(records)
  const log = `log-${records}`
  const startedAt = performance.now() + WARM_UP_SECONDS * 1000
  const until = startedAt + seconds * 1000
  const latencies: number[] = []
  let acknowledged = 0
  await Promise.all(
    Array.from({ length: PRODUCERS }, async (_, shard) => {
      let { commitNumber } = await adapter.open({ shard, epoch, owner })
      const { endOffset } = await adapter.read({ shard, log, fromOffset: 1e15, bytesMax: 1 })
      let offset = endOffset
      const commitOne = async (): Promise<void> => {
        const stamped = new Uint8Array(batch)
        setBaseOffset(stamped, offset)
        const operation = { kind: 'append', log, expectedOffset: offset, batch: stamped } as const
        offset += records
        commitNumber += 1
        const sentAt = performance.now()
        await adapter.commit({ shard, epoch, commitNumber, operations: [operation] })
        const acknowledgedAt = performance.now()
        if (acknowledgedAt < startedAt) return
        latencies.push(acknowledgedAt - sentAt)
        acknowledged += records
      }
      const inFlight = Array.from({ length: window }, async () => {
        while (performance.now() < until) await commitOne()
      })
      await Promise.all(inFlight)
    }),
  )
  const elapsed = (performance.now() - startedAt) / 1000
  latencies.sort((a, b) => a - b)
  return {
    recordsPerSecond: acknowledged / elapsed,
    p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? Number.NaN,
  }
}

/** MiB per second of batches, each checked; 1 MiB a call, four logs at a time. */
export async function readBack(adapter: StorageAdapter, records: number): Promise<number> {
  const log = `log-${records}`
  const startedAt = performance.now()
  let bytes = 0
  let next = 0
  const readers = Array.from({ length: 4 }, async () => {
    for (let shard = next++; shard < PRODUCERS; shard = next++) {
      for (let fromOffset = 0; ; ) {
        const request = { shard, log, fromOffset, bytesMax: 1024 * 1024 }
        const { batches, endOffset } = await adapter.read(request)
        for (const batch of batches) bytes += batch.length
        fromOffset += batches.length * records
        if (batches.length === 0 || fromOffset >= endOffset) break
      }
    }
  })
  await Promise.all(readers)
  return bytes / 1024 ** 2 / ((performance.now() - startedAt) / 1000)
}

/** So many logs, spread over the shards, one small batch in each. */
export async function fillLogs(adapter: StorageAdapter, count: number): Promise<void> {
  const batch = template(1)
  const perShard = Math.ceil(count / PRODUCERS)
  for (let shard = 0; shard < PRODUCERS; shard += 1) {
    let { commitNumber } = await adapter.open({ shard, epoch: 1, owner })
    for (let at = 0; at < perShard; at += 500) {
      const operations = Array.from({ length: Math.min(500, perShard - at) }, (_, index) => ({
        kind: 'append' as const,
        log: `inbox/client-${shard}-${at + index}`,
        expectedOffset: 0,
        batch,
      }))
      commitNumber += 1
      await adapter.commit({ shard, epoch: 1, commitNumber, operations })
    }
  }
}

/** What an owner does before it serves: fence, then learn where every log ends. Seconds. */
export async function openAll(open: () => Promise<StorageAdapter>, epoch: number): Promise<number> {
  const startedAt = performance.now()
  const adapter = await open()
  let logs = 0
  await Promise.all(
    Array.from({ length: PRODUCERS }, async (_, shard) => {
      await adapter.open({ shard, epoch, owner })
      logs += (await adapter.logs(shard)).length
    }),
  )
  const seconds = (performance.now() - startedAt) / 1000
  await adapter.stop()
  if (logs < PRODUCERS) throw new Error(`only ${logs} logs were found`)
  return seconds
}
