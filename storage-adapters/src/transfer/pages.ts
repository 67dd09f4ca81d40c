/** Walks over a shard in pages, through the port. */
import { nextOffset } from '../record-batch/record-batch.ts'
import type { KeyValue, LogInfo, StorageAdapter } from '../storage-adapter.ts'

const pageKeys = 500
const pageBytes = 8 * 1024 * 1024

export async function* eachKey(adapter: StorageAdapter, shard: number): AsyncGenerator<KeyValue> {
  let from = ''
  for (;;) {
    const page = await adapter.scan({ shard, from, to: '', limit: pageKeys })
    yield* page
    const last = page.at(-1)
    if (last === undefined || page.length < pageKeys) return
    from = `${last.key}\u0000`
  }
}

/** From its start to the end that it had in `info`. */
export async function* eachBatch(
  adapter: StorageAdapter,
  shard: number,
  info: LogInfo,
): AsyncGenerator<Uint8Array> {
  let at = info.startOffset
  while (at < info.endOffset) {
    const request = { shard, log: info.log, fromOffset: at, bytesMax: pageBytes }
    const { batches } = await adapter.read(request)
    if (batches.length === 0) return
    for (const batch of batches) {
      yield batch
      at = nextOffset(batch)
    }
  }
}
