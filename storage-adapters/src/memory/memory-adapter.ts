/**
 * The storage port in this process's memory. Every call takes effect in one turn, so a commit is atomic
 * by construction. Nothing outlives the process: a new one has a new incarnation.
 */
import { randomUUID } from 'node:crypto'
import { totalmem } from 'node:os'
import type { Capabilities } from '../capabilities.ts'
import { StorageError } from '../errors.ts'
import {
  admitCommitNumber,
  admitDrop,
  admitOpen,
  admitOwner,
  newShardHead,
  type ShardHead,
} from '../fencing.ts'
import { compareKeys } from '../key-order.ts'
import { commitBytesMax } from '../limits.ts'
import { checkLogEnds, noSuchBatches } from '../log-ends.ts'
import type {
  CommitRequest,
  KeyValue,
  LogInfo,
  OpenRequest,
  OpenResult,
  Operation,
  ReadRequest,
  ReadResult,
  ScanRequest,
  ShardStats,
  StorageAdapter,
} from '../storage-adapter.ts'
import {
  checkCommit,
  checkName,
  checkOpen,
  checkRead,
  checkScan,
  checkShard,
  checkShardEpoch,
  commitBytes,
} from '../validation.ts'
import { MemoryLog } from './memory-log.ts'
import { SortedMap } from './sorted-map.ts'

export interface MemoryStorageOptions {
  /** Batches, keys and values of all shards; a commit that adds beyond it is FULL. Default: a quarter of the machine. */
  readonly bytesMax?: number
}

/** A quarter of the machine's memory, and what a V8 heap beside it still leaves room for. */
const defaultBytesMax = Math.min(totalmem() / 4, 8 * 1024 ** 3)

export function createMemoryStorage(options: MemoryStorageOptions = {}): StorageAdapter {
  return new MemoryAdapter(options.bytesMax ?? defaultBytesMax)
}

interface Shard {
  readonly head: ShardHead
  isOpen: boolean
  logs: Map<string, MemoryLog>
  keys: SortedMap
  /** Of batches and values. */
  bytes: number
  /** What names and entries take beside that. */
  overhead: number
}

class MemoryAdapter implements StorageAdapter {
  readonly capabilities: Capabilities
  readonly #incarnation = randomUUID()
  readonly #shards = new Map<number, Shard>()
  readonly #bytesMax: number
  /** Of all shards, with their overhead: what the bound is about. */
  #held = 0
  #isStopped = false

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
    const megabytes = Math.floor(bytesMax / 1024 ** 2)
    this.capabilities = {
      adapter: 'memory',
      survivesProcessCrash: false,
      survivesOsCrash: false,
      survivesMachineLoss: false,
      commitBytesMax,
      promise: `memory: everything is gone with the process that holds it; holds up to ${megabytes} MiB`,
    }
  }

  get pressure(): number {
    return Math.min(1, this.#held / this.#bytesMax)
  }

  async open(request: OpenRequest): Promise<OpenResult> {
    this.#checkRunning()
    checkOpen(request)
    const shard = this.#shard(request.shard)
    if (admitOpen(shard.head, request)) {
      shard.head.epoch = request.epoch
      shard.head.owner = request.owner
      shard.head.dropped = false
    }
    shard.isOpen = true
    return { incarnation: this.#incarnation, commitNumber: shard.head.commitNumber }
  }

  async commit(request: CommitRequest): Promise<void> {
    this.#checkRunning()
    checkCommit(request, commitBytesMax)
    const shard = this.#shard(request.shard)
    admitOwner(shard.head, shard.isOpen, request)
    if (!admitCommitNumber(shard.head, request)) return
    checkLogEnds(request.operations, (log) => shard.logs.get(log)?.endOffset)
    for (const operation of request.operations) {
      if (operation.kind === 'replace') checkReplace(shard.logs.get(operation.log), operation)
    }
    this.#checkRoom(request)
    for (const operation of request.operations) this.#apply(shard, operation)
    shard.head.commitNumber = request.commitNumber
    shard.head.commitEpoch = request.epoch
  }

  async read(request: ReadRequest): Promise<ReadResult> {
    this.#checkRunning()
    checkRead(request)
    const log = this.#shards.get(request.shard)?.logs.get(request.log)
    return log?.read(request.fromOffset, request.bytesMax) ?? emptyRead
  }

  async get(shard: number, key: string): Promise<Uint8Array | undefined> {
    this.#checkRunning()
    checkShard(shard)
    checkName(key, 'key')
    return this.#shards.get(shard)?.keys.get(key)
  }

  async scan(request: ScanRequest): Promise<KeyValue[]> {
    this.#checkRunning()
    checkScan(request)
    const found: KeyValue[] = []
    const keys = this.#shards.get(request.shard)?.keys
    if (keys === undefined || request.limit === 0) return found
    const { from, to, limit } = request
    const entries = request.reverse ? keys.rangeReverse(from, to) : keys.range(from, to)
    for (const { key, value } of entries) {
      found.push({ key, value })
      if (found.length >= limit) break
    }
    return found
  }

  async logs(shard: number): Promise<LogInfo[]> {
    this.#checkRunning()
    checkShard(shard)
    const logs = this.#shards.get(shard)?.logs ?? new Map<string, MemoryLog>()
    const infos = Array.from(logs, ([log, { startOffset, endOffset, bytes }]) => ({
      log,
      startOffset,
      endOffset,
      bytes,
    }))
    return infos.sort((a, b) => compareKeys(a.log, b.log))
  }

  async shards(): Promise<number[]> {
    this.#checkRunning()
    const opened = Array.from(this.#shards).filter(([, { head }]) => head.epoch > 0)
    return opened.map(([number]) => number).sort((a, b) => a - b)
  }

  async stats(shard: number): Promise<ShardStats> {
    this.#checkRunning()
    checkShard(shard)
    const known = this.#shards.get(shard)
    return {
      epoch: known?.head.epoch ?? 0,
      commitNumber: known?.head.commitNumber ?? 0,
      logs: known?.logs.size ?? 0,
      keys: known?.keys.size ?? 0,
      bytes: known?.bytes ?? 0,
      incarnation: known && known.head.epoch > 0 ? this.#incarnation : '',
    }
  }

  async close(shard: number, epoch: number): Promise<void> {
    this.#checkRunning()
    checkShardEpoch(shard, epoch)
    const known = this.#shard(shard)
    admitOwner(known.head, true, { shard, epoch })
    known.isOpen = false
  }

  async drop(shard: number, epoch: number): Promise<void> {
    this.#checkRunning()
    checkShardEpoch(shard, epoch)
    const known = this.#shard(shard)
    admitDrop(known.head, shard, epoch)
    this.#held -= known.bytes + known.overhead
    Object.assign(known.head, newShardHead(), { epoch, dropped: true })
    known.isOpen = false
    known.logs = new Map()
    known.keys = new SortedMap()
    known.bytes = 0
    known.overhead = 0
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#shards.clear()
  }

  #checkRunning(): void {
    if (this.#isStopped) throw new StorageError('UNAVAILABLE', 'The storage is stopped')
  }

  #shard(number: number): Shard {
    let shard = this.#shards.get(number)
    if (shard === undefined) {
      shard = {
        head: newShardHead(),
        isOpen: false,
        logs: new Map(),
        keys: new SortedMap(),
        bytes: 0,
        overhead: 0,
      }
      this.#shards.set(number, shard)
    }
    return shard
  }

  /** A commit that only frees is always let in. */
  #checkRoom(request: CommitRequest): void {
    const isAdding = request.operations.some(({ kind }) => kind === 'append' || kind === 'put')
    if (isAdding && this.#held + commitBytes(request) > this.#bytesMax) {
      throw new StorageError(
        'FULL',
        `Memory storage holds ${this.#held} bytes of ${this.#bytesMax}`,
      )
    }
  }

  #apply(shard: Shard, operation: Operation): void {
    switch (operation.kind) {
      case 'append':
        this.#log(shard, operation.log).append(operation)
        this.#grow(shard, operation.batch.length)
        this.#growOverhead(shard, entryBytes)
        return
      case 'put':
        this.#grow(shard, operation.value.length - (shard.keys.get(operation.key)?.length ?? 0))
        if (shard.keys.get(operation.key) === undefined) {
          this.#growOverhead(shard, overheadOf(operation.key))
        }
        shard.keys.set(operation.key, new Uint8Array(operation.value))
        return
      case 'delete':
        this.#deleteKey(shard, operation.key)
        return
      case 'delete-range': {
        const doomed = Array.from(shard.keys.range(operation.from, operation.to), ({ key }) => key)
        for (const key of doomed) this.#deleteKey(shard, key)
        return
      }
      case 'trim':
        this.#trim(shard, operation.log, operation.beforeOffset)
        return
      case 'replace':
        this.#replace(shard, operation)
        return
      case 'drop-log':
        if (!shard.logs.has(operation.log)) return
        this.#trim(shard, operation.log, Number.MAX_SAFE_INTEGER)
        this.#growOverhead(shard, -overheadOf(operation.log))
        shard.logs.delete(operation.log)
        return
      case 'begin-log':
        this.#log(shard, operation.log).beginAt(operation.offset)
        return
      default:
        operation satisfies never
    }
  }

  #log(shard: Shard, name: string): MemoryLog {
    let log = shard.logs.get(name)
    if (log === undefined) {
      log = new MemoryLog()
      this.#growOverhead(shard, overheadOf(name))
      shard.logs.set(name, log)
    }
    return log
  }

  #replace(shard: Shard, { log, batch }: Replacement): void {
    const grown = shard.logs.get(log)?.replace(batch)
    if (grown === undefined) return
    this.#grow(shard, grown.bytes)
    this.#growOverhead(shard, grown.batches * entryBytes)
  }

  #trim(shard: Shard, name: string, beforeOffset: number): void {
    const freed = shard.logs.get(name)?.trim(beforeOffset)
    if (freed === undefined) return
    this.#grow(shard, -freed.bytes)
    this.#growOverhead(shard, -freed.batches * entryBytes)
  }

  #deleteKey(shard: Shard, key: string): void {
    const value = shard.keys.get(key)
    if (value === undefined) return
    this.#grow(shard, -value.length)
    this.#growOverhead(shard, -overheadOf(key))
    shard.keys.delete(key)
  }

  #grow(shard: Shard, bytes: number): void {
    shard.bytes += bytes
    this.#held += bytes
  }

  #growOverhead(shard: Shard, bytes: number): void {
    shard.overhead += bytes
    this.#held += bytes
  }
}

/** Throws GAP. */
function checkReplace(log: MemoryLog | undefined, { log: name, batch }: Replacement): void {
  if (log?.hasBoundaries(batch) !== true) throw noSuchBatches(name, batch)
}

type Replacement = Extract<Operation, { kind: 'replace' }>

/** About what V8 takes for a buffer, its view and its place in a list. */
const entryBytes = 200

function overheadOf(name: string): number {
  return entryBytes + 2 * name.length
}

const emptyRead: ReadResult = { batches: [], startOffset: 0, endOffset: 0 }
