/** Records, batches and commits for the suite. */
import { expect } from 'vitest'
import type { StorageErrorCode } from '../errors.ts'
import { encodeRecordBatch } from '../record-batch/codec.ts'
import { crc32c } from '../record-batch/crc32c.ts'
import type { Operation, StorageAdapter } from '../storage-adapter.ts'

export const shard = 7
export const owner = 'node-1/a'

export const bytesOf = (text: string): Uint8Array => Buffer.from(text)

export const textOf = (bytes: Uint8Array | undefined): string | undefined =>
  bytes && Buffer.from(bytes).toString()

/** One batch at `offset`, a record per value. */
export function batchAt(offset: number, ...values: (string | Uint8Array)[]): Uint8Array {
  const records = values.map((value) => ({
    timestamp: 1_700_000_000_000,
    key: null,
    value: typeof value === 'string' ? bytesOf(value) : value,
    headers: [],
  }))
  return encodeRecordBatch(records, { baseOffset: offset, leaderEpoch: 1 })
}

/** Covers `count` offsets from `offset` on; only the named records are left. */
export function covering(
  offset: number,
  count: number,
  ...values: (string | Uint8Array)[]
): Uint8Array {
  const batch = Buffer.from(batchAt(offset, ...values))
  batch.writeInt32BE(count - 1, 23)
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}

export function append(log: string, offset: number, ...values: (string | Uint8Array)[]): Operation {
  return { kind: 'append', log, expectedOffset: offset, batch: batchAt(offset, ...values) }
}

export function put(key: string, value: string | Uint8Array = key): Operation {
  return { kind: 'put', key, value: typeof value === 'string' ? bytesOf(value) : value }
}

/** Commits to one shard at one epoch, one after the other. */
export class Writer {
  epoch: number
  shard: number
  commitNumber = 0
  readonly #adapter: StorageAdapter

  constructor(adapter: StorageAdapter, options: { shard?: number; epoch?: number } = {}) {
    this.#adapter = adapter
    this.shard = options.shard ?? shard
    this.epoch = options.epoch ?? 1
  }

  async open(): Promise<this> {
    const opened = await this.#adapter.open({ shard: this.shard, epoch: this.epoch, owner })
    this.commitNumber = opened.commitNumber
    return this
  }

  commit(...operations: Operation[]): Promise<void> {
    this.commitNumber += 1
    const { shard, epoch, commitNumber } = this
    return this.#adapter.commit({ shard, epoch, commitNumber, operations })
  }
}

export function openWriter(
  adapter: StorageAdapter,
  options: { shard?: number; epoch?: number } = {},
): Promise<Writer> {
  return new Writer(adapter, options).open()
}

export async function expectCode(promise: Promise<unknown>, code: StorageErrorCode): Promise<void> {
  await expect(promise).rejects.toMatchObject({ name: 'StorageError', code })
}

export async function readAll(
  adapter: StorageAdapter,
  log: string,
  options: { shard?: number; fromOffset?: number; bytesMax?: number } = {},
): Promise<Uint8Array[]> {
  const request = { shard, fromOffset: 0, bytesMax: 1e9, ...options, log }
  return Array.from((await adapter.read(request)).batches)
}

export async function keysOf(
  adapter: StorageAdapter,
  options: { from?: string; to?: string; limit?: number; reverse?: boolean; shard?: number } = {},
): Promise<string[]> {
  const found = await adapter.scan({ shard, from: '', to: '', limit: 1_000_000, ...options })
  return found.map(({ key }) => key)
}

export function expectBytes(actual: readonly Uint8Array[], expected: readonly Uint8Array[]): void {
  expect(actual.length).toBe(expected.length)
  for (const [index, bytes] of expected.entries()) {
    expect(Buffer.compare(actual[index] as Uint8Array, bytes), `bytes at ${index}`).toBe(0)
  }
}
