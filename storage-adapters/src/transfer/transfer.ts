/**
 * Everything of a storage out into frames, and frames into an empty storage. Through the port, so that any
 * adapter can give and any that can adopt can take. Nobody may write meanwhile: it is noticed.
 */
import { StorageError } from '../errors.ts'
import { baseOffset } from '../record-batch/record-batch.ts'
import type { Operation, StorageAdapter } from '../storage-adapter.ts'
import type { Frame } from './export-file.ts'
import { eachBatch, eachKey } from './pages.ts'

export interface Transferred {
  shards: number
  logs: number
  batches: number
  keys: number
  bytes: number
}

export function nothingTransferred(): Transferred {
  return { shards: 0, logs: 0, batches: 0, keys: 0, bytes: 0 }
}

/** Counts in `sum` as it goes. Throws DATA_LOSS for what is damaged, and INVALID when a shard changes. */
export async function* exportFrames(
  adapter: StorageAdapter,
  sum: Transferred,
): AsyncGenerator<Frame> {
  const shards = await adapter.shards()
  const createdAt = new Date().toISOString()
  const { adapter: name } = adapter.capabilities
  yield { kind: 'file', meta: { createdAt, adapter: name, shards: shards.length } }
  for (const shard of shards) yield* exportShard(adapter, shard, sum)
  yield { kind: 'close', meta: { shards: shards.length } }
}

async function* exportShard(
  adapter: StorageAdapter,
  shard: number,
  sum: Transferred,
): AsyncGenerator<Frame> {
  const { epoch, commitNumber, incarnation } = await adapter.stats(shard)
  yield { kind: 'shard', meta: { shard, epoch, commitNumber, incarnation } }
  const counts = { logs: 0, batches: 0, keys: 0 }
  for (const info of await adapter.logs(shard)) {
    const { log, startOffset, endOffset } = info
    yield { kind: 'log', meta: { log, startOffset, endOffset } }
    counts.logs += 1
    for await (const batch of eachBatch(adapter, shard, info)) {
      yield { kind: 'batch', meta: {}, body: batch }
      counts.batches += 1
      sum.bytes += batch.length
    }
  }
  for await (const { key, value } of eachKey(adapter, shard)) {
    yield { kind: 'key', meta: { key }, body: value }
    counts.keys += 1
    sum.bytes += value.length
  }
  const after = await adapter.stats(shard)
  if (after.commitNumber !== commitNumber || after.epoch !== epoch) {
    throw new StorageError('INVALID', `Shard ${shard} changed meanwhile: stop its brokers first`)
  }
  yield { kind: 'end', meta: { shard, ...counts } }
  sum.shards += 1
  sum.logs += counts.logs
  sum.batches += counts.batches
  sum.keys += counts.keys
}

export interface ImportOptions {
  /**
   * Fences and commit numbers begin anew, for a cluster that is made new over this data. Default: they are
   * those of the source, for the cluster that had it.
   */
  readonly forNewCluster: boolean
  readonly sum: Transferred
}

const importer = 'robust storage import'
const commitBytesWanted = 4 * 1024 * 1024
const commitOperationsMax = 1000

/** Throws INVALID when a shard is there already, or the storage cannot adopt. */
export async function importFrames(
  frames: AsyncIterable<Frame>,
  adapter: StorageAdapter,
  options: ImportOptions,
): Promise<void> {
  if (adapter.adopt === undefined) {
    throw new StorageError(
      'INVALID',
      'An import opens the storage itself: give leveldb:PATH or redis://..., with no node on it',
    )
  }
  let shard: ShardImport | undefined
  for await (const frame of frames) {
    if (frame.kind === 'file' || frame.kind === 'close') continue
    if (frame.kind === 'shard') shard = await ShardImport.begin(adapter, frame.meta, options)
    else if (shard === undefined) throw outOfOrder(frame)
    else await shard.take(frame)
  }
}

class ShardImport {
  readonly #adapter: StorageAdapter
  readonly #options: ImportOptions
  readonly #source: Extract<Frame, { kind: 'shard' }>['meta']
  readonly #epoch: number
  #commitNumber = 0
  #operations: Operation[] = []
  #bytes = 0
  #log = ''
  #hasLog = false
  readonly #counts = { logs: 0, batches: 0, keys: 0 }

  private constructor(
    adapter: StorageAdapter,
    source: Extract<Frame, { kind: 'shard' }>['meta'],
    options: ImportOptions,
  ) {
    this.#adapter = adapter
    this.#source = source
    this.#options = options
    this.#epoch = options.forNewCluster ? 1 : source.epoch
  }

  static async begin(
    adapter: StorageAdapter,
    source: Extract<Frame, { kind: 'shard' }>['meta'],
    options: ImportOptions,
  ): Promise<ShardImport> {
    const { shard } = source
    const { epoch } = await adapter.stats(shard)
    if (epoch !== 0) {
      throw new StorageError('INVALID', `Shard ${shard} is there already: import into an empty one`)
    }
    const one = new ShardImport(adapter, source, options)
    await adapter.open({ shard, epoch: one.#epoch, owner: importer })
    return one
  }

  async take(frame: Exclude<Frame, { kind: 'file' | 'shard' | 'close' }>): Promise<void> {
    switch (frame.kind) {
      case 'log': {
        const { log, startOffset } = frame.meta
        this.#log = log
        this.#hasLog = true
        this.#counts.logs += 1
        await this.#add({ kind: 'begin-log', log, offset: startOffset }, 0)
        return
      }
      case 'batch': {
        if (!this.#hasLog) throw outOfOrder(frame)
        const expectedOffset = baseOffset(frame.body)
        this.#counts.batches += 1
        const operation = { kind: 'append', log: this.#log, expectedOffset } as const
        await this.#add({ ...operation, batch: frame.body }, frame.body.length)
        return
      }
      case 'key':
        this.#counts.keys += 1
        await this.#add({ kind: 'put', key: frame.meta.key, value: frame.body }, frame.body.length)
        return
      case 'end':
        await this.#finish(frame.meta)
        return
      default:
        frame satisfies never
    }
  }

  async #add(operation: Operation, bytes: number): Promise<void> {
    const isFull =
      this.#bytes + bytes > commitBytesWanted || this.#operations.length >= commitOperationsMax
    if (isFull && this.#operations.length > 0) await this.#commit()
    this.#operations.push(operation)
    this.#bytes += bytes
  }

  async #commit(): Promise<void> {
    const { shard } = this.#source
    this.#commitNumber += 1
    const operations = this.#operations
    const request = { shard, epoch: this.#epoch, commitNumber: this.#commitNumber, operations }
    await this.#adapter.commit(request)
    this.#options.sum.bytes += this.#bytes
    this.#operations = []
    this.#bytes = 0
  }

  async #finish(counted: Extract<Frame, { kind: 'end' }>['meta']): Promise<void> {
    const { shard, commitNumber, incarnation } = this.#source
    const { logs, batches, keys } = this.#counts
    if (counted.logs !== logs || counted.batches !== batches || counted.keys !== keys) {
      throw new StorageError('DATA_LOSS', `The export file: shard ${shard} is not whole`)
    }
    if (this.#operations.length > 0) await this.#commit()
    if (!this.#options.forNewCluster) {
      const epoch = this.#epoch
      await this.#adapter.adopt?.({ shard, epoch, commitNumber, incarnation })
    }
    await this.#adapter.close(shard, this.#epoch)
    const { sum } = this.#options
    sum.shards += 1
    sum.logs += logs
    sum.batches += batches
    sum.keys += keys
  }
}

function outOfOrder({ kind }: Frame): StorageError {
  return new StorageError('DATA_LOSS', `The export file: a frame of kind ${kind} in a wrong place`)
}
