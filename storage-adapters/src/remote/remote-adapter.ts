/**
 * The storage port over the network: a client of the storage service. It keeps one stream open and opens
 * it again by itself; it never repeats a request, since only the owner knows what an unknown outcome
 * means. While there is no stream, calls wait for one, in their order, up to a limit.
 */
import type { Capabilities } from '../capabilities.ts'
import { StorageError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type {
  CommitRequest,
  KeyValue,
  LogInfo,
  OpenRequest,
  OpenResult,
  ReadRequest,
  ReadResult,
  ScanRequest,
  ShardStats,
  StorageAdapter,
} from '../storage-adapter.ts'
import {
  checkCommitShape,
  checkName,
  checkOpen,
  checkRead,
  checkScan,
  checkShard,
  checkShardEpoch,
} from '../validation.ts'
import { itemOverheadBytes } from '../wire/channel.ts'
import { isWhole } from '../wire/frame-sender.ts'
import { encodeOperation } from '../wire/operations.ts'
import type { RequestKind, ResponseKind } from './connection.ts'
import { Reconnector } from './reconnector.ts'

export interface RemoteStorageOptions {
  /** `host:port`, tried in turn. */
  readonly addresses: readonly string[]
  readonly logger: Logger
  /** Milliseconds until `connectRemoteStorage` gives up; default: it keeps trying. */
  readonly connectMs?: number
  /** Milliseconds that a call waits for a connection; default 5000. */
  readonly waitMs?: number
  /** Milliseconds without an answer until the stream is taken for broken; default 30000. */
  readonly requestMs?: number
  /** Ends the wait of `connectRemoteStorage`. */
  readonly signal?: AbortSignal
}

/** Resolves when a service has greeted. Rejects with UNAVAILABLE, naming the addresses and the cause. */
export async function connectRemoteStorage(options: RemoteStorageOptions): Promise<StorageAdapter> {
  const reconnector = new Reconnector({
    addresses: options.addresses,
    logger: options.logger,
    waitMs: options.waitMs ?? 5000,
    requestMs: options.requestMs ?? 30_000,
  })
  try {
    await reconnector.connected(options.connectMs, options.signal)
    return new RemoteAdapter(reconnector)
  } catch (error) {
    await reconnector.stop()
    throw error
  }
}

class RemoteAdapter implements StorageAdapter {
  readonly #reconnector: Reconnector

  constructor(reconnector: Reconnector) {
    this.#reconnector = reconnector
  }

  /** What the service behind the newest connection promises. */
  get capabilities(): Capabilities {
    const { adapter, ...promised } = this.#reconnector.capabilities
    return { ...promised, adapter: adapter as Capabilities['adapter'] }
  }

  get pressure(): number {
    return this.#reconnector.pressure
  }

  async open(request: OpenRequest): Promise<OpenResult> {
    checkOpen(request)
    const { shard, epoch, owner } = request
    const answer = await this.#ask({ $case: 'open', value: { shard, epoch, owner } }, sizeOf(owner))
    return lastOf(answer, 'opened')
  }

  async commit(request: CommitRequest): Promise<void> {
    const bytes = checkCommitShape(request, this.#reconnector.capabilities.commitBytesMax)
    const { shard, epoch, commitNumber } = request
    const attached: Uint8Array[] | undefined = isWhole(bytes) ? [] : undefined
    const operations = request.operations.map((one) => encodeOperation(one, attached))
    const value = { shard, epoch, commitNumber, operations }
    await this.#ask({ $case: 'commit', value }, bytes, attached)
  }

  async read(request: ReadRequest): Promise<ReadResult> {
    checkRead(request)
    const { shard, log, fromOffset } = request
    const value = { shard, log, fromOffset, bytesMax: clampToUint32(request.bytesMax) }
    const parts = partsOf(await this.#ask({ $case: 'read', value }, sizeOf(log)), 'read')
    const batches = parts.flatMap((part) => part.batches)
    const { startOffset, endOffset } = parts[0] ?? { startOffset: 0, endOffset: 0 }
    return { batches, startOffset, endOffset }
  }

  async get(shard: number, key: string): Promise<Uint8Array | undefined> {
    checkShard(shard)
    checkName(key, 'key')
    const answer = await this.#ask({ $case: 'get', value: { shard, key } }, sizeOf(key))
    const { found, value } = lastOf(answer, 'value')
    return found ? value : undefined
  }

  async scan(request: ScanRequest): Promise<KeyValue[]> {
    checkScan(request)
    const { shard, from, to, reverse = false } = request
    const limit = clampToUint32(request.limit)
    const value = { shard, range: { from, to }, limit, reverse }
    const parts = partsOf(await this.#ask({ $case: 'scan', value }, sizeOf(from + to)), 'scan')
    return parts.flatMap((part) => part.entries)
  }

  async logs(shard: number): Promise<LogInfo[]> {
    checkShard(shard)
    const parts = partsOf(await this.#ask({ $case: 'logs', value: { shard } }), 'logs')
    return parts.flatMap((part) => part.logs)
  }

  async shards(): Promise<number[]> {
    return lastOf(await this.#ask({ $case: 'shards', value: {} }), 'shards').shards
  }

  async stats(shard: number): Promise<ShardStats> {
    checkShard(shard)
    return lastOf(await this.#ask({ $case: 'stats', value: { shard } }), 'stats')
  }

  async close(shard: number, epoch: number): Promise<void> {
    checkShardEpoch(shard, epoch)
    await this.#ask({ $case: 'close', value: { shard, epoch } })
  }

  async drop(shard: number, epoch: number): Promise<void> {
    checkShardEpoch(shard, epoch)
    await this.#ask({ $case: 'drop', value: { shard, epoch } })
  }

  /** Ends this client; the service and its data go on. */
  stop(): Promise<void> {
    return this.#reconnector.stop()
  }

  /** `bytes` is no less than what the request takes beside its numbers: frames are filled by it. */
  #ask(
    kind: RequestKind,
    bytes = itemOverheadBytes,
    attached?: readonly Uint8Array[],
  ): Promise<ResponseKind[]> {
    return this.#reconnector.call((connection) => connection.request(kind, bytes, attached))
  }
}

/** Of a request with this text in it; UTF-8 takes three bytes for a unit at most. */
function sizeOf(text: string): number {
  return itemOverheadBytes + 3 * text.length
}

type Case = ResponseKind['$case']
type ValueOf<C extends Case> = Extract<ResponseKind, { $case: C }>['value']

/** All parts, which must be of one case. */
function partsOf<C extends Case>(answer: readonly ResponseKind[], wanted: C): ValueOf<C>[] {
  return answer.map((part) => {
    if (part.$case !== wanted) {
      throw new StorageError('UNAVAILABLE', `The storage service answered ${part.$case}`)
    }
    return part.value as ValueOf<C>
  })
}

function lastOf<C extends Case>(answer: readonly ResponseKind[], wanted: C): ValueOf<C> {
  const value = partsOf(answer, wanted).at(-1)
  if (value === undefined) throw new StorageError('UNAVAILABLE', 'An empty answer')
  return value
}

function clampToUint32(count: number): number {
  return Math.min(count, 0xffff_ffff)
}
