/** Looks at everything that is kept for a shard. Writes nothing. Meant for a shard that nobody writes. */
import { baseOffset } from '../record-batch/record-batch.ts'
import { unsealBatch, unsealValue } from '../sealed-values.ts'
import { quoted, ShardProblems } from '../shard-problems.ts'
import type { ShardCheck } from '../storage-adapter.ts'
import { parseBatchId, type ShardKeys, sealKeys, shardKeys } from './keys.ts'
import type { Link } from './link.ts'
import { entriesOf, logHeads, readPage } from './reads.ts'
import { decodeHead, decodeLog, type StoredLog } from './stored-values.ts'

interface Place {
  readonly link: Link
  readonly prefix: string
  readonly shard: number
  readonly keys: ShardKeys
  readonly problems: ShardProblems
}

const pageEntries = 200
const pageBytes = 4 * 1024 * 1024

export async function checkStoredShard(
  link: Link,
  prefix: string,
  { shard, isNoted }: { shard: number; isNoted: boolean },
): Promise<ShardCheck> {
  const keys = shardKeys(prefix, shard)
  const place = { link, prefix, shard, keys, problems: new ShardProblems() }
  const { problems } = place
  const stored = await link.command('get', [keys.head])
  if (Buffer.isBuffer(stored)) {
    problems.attempt('the head of the shard', () => decodeHead(shard, stored))
  }
  for (const [log, head] of await logHeads(link, prefix, shard)) {
    problems.logs += 1
    const read = () => decodeLog({ shard, log }, head)
    const known = problems.attempt(`the head of log ${quoted(log)}`, read)
    await checkLog(place, log, known)
  }
  await checkValues(place)
  const isEmpty = problems.logs === 0 && problems.keys === 0
  if (!Buffer.isBuffer(stored) && (isNoted || !isEmpty)) {
    problems.add('the head of the shard is missing')
  }
  return problems.result()
}

async function streamPage(link: Link, stream: string, from: string) {
  return entriesOf(await link.command('xrange', [stream, from, '+', 'COUNT', pageEntries]))
}

async function checkLog(
  { link, prefix, shard, keys, problems }: Place,
  log: string,
  head: StoredLog | undefined,
): Promise<void> {
  const where = `log ${quoted(log)}`
  let next = head?.startOffset
  let from = '-'
  for (;;) {
    const place = { shard, log }
    const after = from === '-' ? 0 : parseBatchId(from.slice(1)).nextOffset
    // With batches that took the place of others there are two places to look in, in step.
    const page =
      head !== undefined && head.oldBatches > 0
        ? (await readPage(link, prefix, { place, at: after, left: pageBytes })).entries
        : await streamPage(link, keys.logPrefix + log, from)
    for (const { id, stored } of page) {
      const { nextOffset } = parseBatchId(id)
      const key = sealKeys.batch(shard, log, nextOffset)
      const batch = problems.attempt(where, () => unsealBatch(key, stored, nextOffset - 1))
      if (batch !== undefined && next !== undefined && baseOffset(batch) !== next) {
        problems.add(`${where}: a batch begins at offset ${baseOffset(batch)}, not ${next}`)
      }
      next = nextOffset
      problems.batches += 1
      problems.bytes += batch?.length ?? 0
      from = `(${id}`
    }
    if (page.length === 0) break
  }
  if (head !== undefined && next !== head.endOffset) {
    problems.add(`${where}: its records end at offset ${next}, its head says ${head.endOffset}`)
  }
}

/** Each value, and that the list of keys in order has the same ones. */
async function checkValues({ link, shard, keys, problems }: Place): Promise<void> {
  const seen = new Set<string>()
  let cursor = '0'
  do {
    const reply = await link.command('hscan', [keys.values, cursor, 'COUNT', pageEntries])
    const [next, flat] = reply as [Buffer, Buffer[]]
    for (let at = 0; at < flat.length; at += 2) {
      const key = (flat[at] as Buffer).toString()
      if (seen.has(key)) continue
      seen.add(key)
      const seal = sealKeys.value(shard, key)
      const read = () => unsealValue(seal, flat[at + 1] as Buffer)
      const value = problems.attempt(`key ${quoted(key)}`, read)
      problems.keys += 1
      problems.bytes += value?.length ?? 0
    }
    cursor = next.toString()
  } while (cursor !== '0')
  let from = '-'
  for (;;) {
    const args = [keys.keys, from, '+', 'LIMIT', 0, pageEntries]
    const page = (await link.command('zrangebylex', args)) as Buffer[]
    for (const name of page) {
      const key = name.toString()
      if (!seen.delete(key)) problems.add(`key ${quoted(key)} is listed and has no value`)
      from = `(${key}`
    }
    if (page.length < pageEntries) break
  }
  for (const key of seen) problems.add(`key ${quoted(key)} has a value and is not listed`)
}
