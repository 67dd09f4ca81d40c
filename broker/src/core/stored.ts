/** How the keys of a shard are read and what their values look like. */
import type { KeyValue, StorageAdapter } from '@robust/storage-adapters'

/** Keys within [from, to). */
export interface KeyRange {
  readonly from: string
  readonly to: string
}

const PAGE = 1_000

/** Every pair of the range, page by page. */
export async function* scanAll(
  storage: StorageAdapter,
  shard: number,
  range: KeyRange,
): AsyncGenerator<KeyValue> {
  let from = range.from
  for (;;) {
    const page = await storage.scan({ shard, from, to: range.to, limit: PAGE })
    yield* page
    const last = page[page.length - 1]
    if (last === undefined || page.length < PAGE) return
    from = `${last.key}\0`
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export function encodeJson(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value))
}

export function decodeJson<T>(value: Uint8Array): T {
  return JSON.parse(decoder.decode(value)) as T
}
