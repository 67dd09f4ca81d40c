/** Looks at every key of a shard in one pass, on one snapshot. Writes nothing. */
import { baseOffset } from '../record-batch/record-batch.ts'
import { unsealBatch, unsealValue } from '../sealed-values.ts'
import { quoted, ShardProblems } from '../shard-problems.ts'
import type { ShardCheck } from '../storage-adapter.ts'
import { type BatchStore, loadBatch, withSegments } from './batch-store.ts'
import { walk } from './engine.ts'
import { describeBatchKey, describeKey, shardRange } from './keys.ts'
import { decodeHostedLog, decodeLogHead, type LogHead } from './stored-values.ts'

interface Seen {
  /** Undefined: it is damaged. */
  readonly head: LogHead | undefined
  /** Where the next batch has to begin. */
  next: number
  bytes: number
}

export async function checkStoredShard(store: BatchStore, shard: number): Promise<ShardCheck> {
  const { engine } = store
  const problems = new ShardProblems()
  const logs = new Map<string, Seen>()
  let entries = 0
  let hasHead = false
  const snapshot = engine.snapshot()
  try {
    for await (const page of walk(engine, shardRange(shard), { snapshot })) {
      entries += page.length
      for (const [key, stored] of page) {
        hasHead ||= describeKey(key)?.kind === 'head'
        await checkEntry(store, { key, stored, logs, problems })
      }
    }
  } finally {
    await snapshot.close()
  }
  if (entries > 0 && !hasHead) problems.add('the head of the shard is missing')
  for (const [name, { head, next, bytes }] of logs) {
    if (head === undefined) continue
    const log = `log ${quoted(name)}`
    if (next !== head.endOffset) {
      problems.add(`${log}: no records from offset ${next} to ${head.endOffset}`)
    }
    if (bytes !== head.bytes) problems.add(`${log}: ${bytes} bytes, its head says ${head.bytes}`)
  }
  return problems.result()
}

interface Entry {
  readonly key: Buffer
  readonly stored: Buffer
  readonly logs: Map<string, Seen>
  readonly problems: ShardProblems
}

function addLog({ logs, problems }: Entry, name: string, head: LogHead | undefined): void {
  logs.set(name, { head, next: head?.startOffset ?? 0, bytes: 0 })
  problems.logs += 1
}

async function checkEntry(store: BatchStore, entry: Entry): Promise<void> {
  const { key, stored, logs, problems } = entry
  const described = describeKey(key)
  if (described === undefined) {
    problems.add(`a key that is none of ours: ${key.toString('hex')}`)
    return
  }
  const { kind, name } = described
  switch (kind) {
    case 'head': {
      const read = () => unsealValue(key, stored)
      const payload = problems.attempt('the head of the shard', read)
      const hosted = payload && decodeHostedLog(payload)
      if (hosted !== undefined) addLog(entry, hosted.name, hosted)
      return
    }
    case 'log': {
      const read = () => decodeLogHead(unsealValue(key, stored))
      const head = problems.attempt(`the head of log ${quoted(name)}`, read)
      // What is with the head of the shard comes first, and counts.
      if (!logs.has(name)) addLog(entry, name, head)
      return
    }
    case 'batch':
      await checkBatchEntry(store, { key, stored, logs, problems }, name)
      return
    case 'value': {
      const value = problems.attempt(`key ${quoted(name)}`, () => unsealValue(key, stored))
      problems.keys += 1
      problems.bytes += value?.length ?? 0
      return
    }
    default:
      kind satisfies never
  }
}

async function checkBatchEntry(
  store: BatchStore,
  { key, stored, logs, problems }: Entry,
  name: string,
): Promise<void> {
  const { lastOffset, bytes } = describeBatchKey(key)
  const log = logs.get(name)
  const where = `log ${quoted(name)}`
  if (log === undefined) {
    problems.add(`${where}: a batch up to offset ${lastOffset}, but no head`)
    return
  }
  const batch = await problems.attemptLater(where, async () =>
    unsealBatch(key, await withSegments(() => loadBatch(store, key, stored)), lastOffset),
  )
  if (log.head !== undefined && batch !== undefined && baseOffset(batch) !== log.next) {
    problems.add(`${where}: a batch begins at offset ${baseOffset(batch)}, not ${log.next}`)
  }
  log.next = lastOffset + 1
  log.bytes += bytes
  problems.batches += 1
  problems.bytes += bytes
}
