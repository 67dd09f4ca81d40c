/** Checks a shard by what the port lets everybody read: every batch and every value. Writes nothing. */
import { StorageError } from '../errors.ts'
import { quoted, ShardProblems } from '../shard-problems.ts'
import type { LogInfo, ShardCheck, StorageAdapter } from '../storage-adapter.ts'
import { eachBatch, eachKey } from './pages.ts'

export async function checkByReads(adapter: StorageAdapter, shard: number): Promise<ShardCheck> {
  const problems = new ShardProblems()
  const note = async (where: string, read: () => Promise<void>) => {
    try {
      await read()
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'DATA_LOSS') throw error
      problems.add(`${where}: ${error.message}`)
    }
  }
  await note('the list of logs', async () => {
    for (const info of await adapter.logs(shard)) {
      problems.logs += 1
      await note(`log ${quoted(info.log)}`, () => checkLog(adapter, shard, { info, problems }))
    }
  })
  await note('the keys', async () => {
    for await (const { value } of eachKey(adapter, shard)) {
      problems.keys += 1
      problems.bytes += value.length
    }
  })
  return problems.result()
}

async function checkLog(
  adapter: StorageAdapter,
  shard: number,
  { info, problems }: { info: LogInfo; problems: ShardProblems },
): Promise<void> {
  for await (const batch of eachBatch(adapter, shard, info)) {
    problems.batches += 1
    problems.bytes += batch.length
  }
}
