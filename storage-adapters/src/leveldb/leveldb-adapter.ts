/**
 * The storage port on one LevelDB directory, which one process owns. Mutations go through the group
 * writer; reads take a snapshot of what is committed and check every stored byte. A failed write, which
 * leaves LevelDB's state unknown, ends the adapter: `onFatal`, then UNAVAILABLE for everything.
 */
import { statfs } from 'node:fs/promises'
import type { Capabilities } from '../capabilities.ts'
import { StorageError } from '../errors.ts'
import { commitBytesMax } from '../limits.ts'
import type {
  AdoptRequest,
  CommitRequest,
  KeyValue,
  LogInfo,
  OpenRequest,
  OpenResult,
  ReadRequest,
  ReadResult,
  ScanRequest,
  ShardCheck,
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
} from '../validation.ts'
import type { BatchStore } from './batch-store.ts'
import { checkStoredShard } from './check.ts'
import { Compaction } from './compaction.ts'
import { asStorageError, type Engine, openEngine, repairEngine } from './engine.ts'
import { FreeSpace } from './free-space.ts'
import {
  defaultLimits,
  type GroupStoreParts,
  type SegmentLimits,
  storeGroup,
} from './group-store.ts'
import { GroupWriter } from './group-writer.ts'
import { Identity } from './identity.ts'
import { prepareCommit } from './prepare.ts'
import { readLog, readLogs, readShards, readStats, readValue, scanValues } from './reads.ts'
import type { Place } from './segment-file.ts'
import { Segments } from './segments.ts'
import { ShardWriter } from './shard-writer.ts'
import { Watermark } from './watermark.ts'
import { type PutOperation, WriteGroup } from './write-group.ts'

export interface LevelDbStorageOptions {
  /** Called once, when a write has failed: the process should end and start again. */
  readonly onFatal?: (error: StorageError) => void
  /** Bytes of the disk that commits leave free; default 256 MiB. */
  readonly reserveBytes?: number
  /** Free bytes of the disk; default: asks the file system. */
  readonly measureFreeBytes?: () => Promise<number>
  /**
   * Goes on with what is left after writes were lost, as different data: with a new incarnation.
   * Default: every `open` of a shard that lost some rejects with DATA_LOSS.
   */
  readonly acceptDataLoss?: boolean
  /** What goes to segment files; default: batches of 8 KiB, 128 KiB of them in one write. */
  readonly segmentLimits?: SegmentLimits
}

/** Creates the directory if there is none. Rejects with UNAVAILABLE when another process has it. */
export async function openLevelDbStorage(
  path: string,
  options: LevelDbStorageOptions = {},
): Promise<StorageAdapter> {
  const { engine, isRepaired } = await openOrRepair(path, options.acceptDataLoss ?? false)
  const watermark = new Watermark(path)
  try {
    const { acceptDataLoss = false } = options
    const told = await watermark.read()
    const opened = isRepaired
      ? await Identity.beginAnew(engine, true)
      : await Identity.load(engine, { acceptDataLoss, watermark: told })
    if (acceptDataLoss) await watermark.remove()
    const isWhole = !isRepaired && opened.identity.isWhole && opened.ledger.damage === undefined
    const segments = await Segments.load(path, engine, isWhole)
    const space = new FreeSpace({
      reserveBytes: options.reserveBytes ?? 256 * 1024 * 1024,
      measure: options.measureFreeBytes ?? (() => measureFreeBytes(path)),
      now: () => performance.now(),
    })
    await space.refresh()
    const { onFatal, segmentLimits } = options
    const parts = { engine, ...opened, segments, space, watermark, onFatal, segmentLimits }
    return new LevelDbAdapter(engine, parts)
  } catch (error) {
    await engine.close()
    throw asStorageError(error, `Cannot open ${path}`)
  }
}

/** A database that LevelDB itself cannot read is repaired only by someone who accepts what that costs. */
async function openOrRepair(
  path: string,
  acceptDataLoss: boolean,
): Promise<{ engine: Engine; isRepaired: boolean }> {
  try {
    return { engine: await openEngine(path), isRepaired: false }
  } catch (error) {
    const isDamaged = error instanceof StorageError && error.code === 'DATA_LOSS'
    if (!isDamaged || !acceptDataLoss) throw error
    await repairEngine(path)
    return { engine: await openEngine(path), isRepaired: true }
  }
}

interface Parts extends GroupStoreParts {
  readonly identity: Identity
  readonly space: FreeSpace
  readonly watermark: Watermark
  readonly onFatal: ((error: StorageError) => void) | undefined
}

/** A promise only where the disk has to be asked. Throws StorageError. */
type Change = (group: WriteGroup, shard: ShardWriter) => Promise<void> | undefined

interface Ahead {
  readonly change: Change
  readonly ahead: readonly PutOperation[]
}

class LevelDbAdapter implements StorageAdapter {
  readonly capabilities: Capabilities = {
    adapter: 'leveldb',
    survivesProcessCrash: true,
    survivesOsCrash: true,
    survivesMachineLoss: false,
    commitBytesMax,
    promise:
      'leveldb: every commit is synced to this disk; survives a crash of the process or the machine, not the loss of the disk',
  }
  readonly #engine: Engine
  readonly #parts: Parts
  readonly #writer: GroupWriter
  readonly #shards = new Map<number, ShardWriter>()
  readonly #compaction: Compaction
  /** By shard, while something of it is written ahead: what comes after waits. */
  readonly #turns = new Map<number, Promise<void>>()
  #stopping: Promise<void> | undefined

  constructor(engine: Engine, parts: Parts) {
    this.#engine = engine
    this.#parts = parts
    this.#writer = new GroupWriter({
      newGroup: () => new WriteGroup(engine),
      write: (group) => this.#write(group),
      onBroken: (error) => parts.onFatal?.(error),
    })
    this.#compaction = new Compaction({
      engine,
      segments: parts.segments,
      writer: this.#writer,
      shardWriter: (shard) => this.#shardWriter(shard),
    })
  }

  get #store(): BatchStore {
    return { engine: this.#engine, segments: this.#parts.segments }
  }

  get pressure(): number {
    return this.#parts.space.pressure
  }

  async open(request: OpenRequest): Promise<OpenResult> {
    this.#checkUsable()
    checkOpen(request)
    const damage = this.#damageOf(request.shard)
    if (damage !== undefined) throw new StorageError('DATA_LOSS', damage)
    let commitNumber = 0
    await this.#submit(request.shard, 0, (group, shard) => {
      shard.open(group, request)
      commitNumber = shard.head.commitNumber
      return undefined
    })
    return { incarnation: this.#parts.identity.incarnationOf(request.shard), commitNumber }
  }

  async commit(request: CommitRequest): Promise<void> {
    this.#checkUsable()
    const bytes = checkCommit(request, commitBytesMax)
    const isAdding = request.operations.some(({ kind }) => kind === 'append' || kind === 'put')
    if (isAdding && !this.#parts.space.take(bytes)) {
      throw new StorageError('FULL', 'The disk of the storage is full')
    }
    const prepared = prepareCommit(request)
    const change: Change = (group, shard) => shard.commit(group, request, prepared)
    const { batchBytesMin } = this.#parts.segmentLimits ?? defaultLimits
    const ahead = prepared.flatMap((operation) =>
      operation.kind === 'replace' && operation.batch.length >= batchBytesMin
        ? [operation.write]
        : [],
    )
    if (ahead.length > 0) await this.#submitAhead(request.shard, { change, ahead })
    else await this.#submit(request.shard, bytes, change)
  }

  async read(request: ReadRequest): Promise<ReadResult> {
    checkRead(request)
    return this.#read('read', () => readLog(this.#store, request))
  }

  async get(shard: number, key: string): Promise<Uint8Array | undefined> {
    checkShard(shard)
    checkName(key, 'key')
    return this.#read('get', () => readValue(this.#engine, shard, key))
  }

  async scan(request: ScanRequest): Promise<KeyValue[]> {
    checkScan(request)
    return this.#read('scan', () => scanValues(this.#engine, request))
  }

  async logs(shard: number): Promise<LogInfo[]> {
    checkShard(shard)
    return this.#read('logs', () => readLogs(this.#engine, shard))
  }

  async shards(): Promise<number[]> {
    return this.#read('shards', () => readShards(this.#engine))
  }

  async stats(shard: number): Promise<ShardStats> {
    checkShard(shard)
    const stats = await this.#read('stats', () => readStats(this.#engine, shard))
    const { identity } = this.#parts
    return { ...stats, incarnation: stats.epoch === 0 ? '' : identity.incarnationOf(shard) }
  }

  async check(shard: number): Promise<ShardCheck> {
    checkShard(shard)
    const found = await this.#read('check', () => checkStoredShard(this.#store, shard))
    const damage = this.#damageOf(shard)
    return damage === undefined ? found : { ...found, problems: [damage, ...found.problems] }
  }

  async adopt(request: AdoptRequest): Promise<void> {
    this.#checkUsable()
    checkShardEpoch(request.shard, request.epoch)
    await this.#submit(request.shard, 0, (group, shard) => {
      shard.adopt(group, request)
      return undefined
    })
    await this.#parts.identity.adopt(request.shard, request.incarnation)
  }

  async close(shard: number, epoch: number): Promise<void> {
    this.#checkUsable()
    checkShardEpoch(shard, epoch)
    await this.#submit(shard, 0, (_group, writer) => {
      writer.close(epoch)
      return undefined
    })
  }

  async drop(shard: number, epoch: number): Promise<void> {
    this.#checkUsable()
    checkShardEpoch(shard, epoch)
    await this.#submit(shard, 0, (group, writer) => writer.drop(group, epoch))
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    const { watermark, ledger, segments } = this.#parts
    await this.#compaction.stop()
    await Promise.all(this.#turns.values())
    await this.#writer.idle()
    // What a failed write has left is not known.
    if (!this.#writer.broken) await watermark.stop(ledger.encode())
    await segments.stop()
    await this.#engine.close()
  }

  #damageOf(shard: number): string | undefined {
    const { identity, ledger } = this.#parts
    const damage = identity.damageOf(shard) ?? ledger.damageOf(shard)
    return damage && `Shard ${shard}: ${damage}`
  }

  #checkUsable(): void {
    if (this.#stopping !== undefined)
      throw new StorageError('UNAVAILABLE', 'The storage is stopped')
    if (this.#writer.broken) throw this.#writer.broken
  }

  #submit(shard: number, bytes: number, change: Change): Promise<void> {
    const before = this.#turns.get(shard)
    if (before === undefined) return this.#submitNow(shard, bytes, change)
    return before.then(() => this.#submitNow(shard, bytes, change))
  }

  /**
   * What takes the place of others is background work: its bytes are on the disk before it joins a write, since the
   * commits of clients that share the write wait for all of it. What is submitted for the shard meanwhile comes after.
   */
  async #submitAhead(shard: number, { change, ahead }: Ahead): Promise<void> {
    const { segments } = this.#parts
    const before = this.#turns.get(shard)
    const submitted = Promise.all([segments.appendAhead(ahead), before]).then(([places]) => {
      for (const [at, write] of ahead.entries()) write.place = places[at] as Place
      return { done: this.#submitNow(shard, 0, change) }
    })
    const turn = submitted.then(
      () => undefined,
      (error: unknown) => void this.#writer.break(error),
    )
    this.#turns.set(shard, turn)
    try {
      await turn
      if (this.#turns.get(shard) === turn) this.#turns.delete(shard)
      if (this.#writer.broken) throw this.#writer.broken
      await (await submitted).done
    } finally {
      for (const { place } of ahead) if (place !== undefined) segments.forget(place)
    }
  }

  #submitNow(shard: number, bytes: number, change: Change): Promise<void> {
    return this.#writer.submit(bytes, (group) => {
      const known = this.#shards.get(shard)
      if (known === undefined) return this.#changeUnknown(group, shard, change)
      const later = change(group, known)
      return later?.catch((error: unknown) => {
        throw asStorageError(error, `Shard ${shard}`)
      })
    })
  }

  async #changeUnknown(group: WriteGroup, shard: number, change: Change): Promise<void> {
    try {
      await change(group, await this.#shardWriter(shard))
    } catch (error) {
      throw asStorageError(error, `Shard ${shard}`)
    }
  }

  async #shardWriter(number: number): Promise<ShardWriter> {
    const known = this.#shards.get(number)
    if (known !== undefined) return known
    const shard = await ShardWriter.load(number, this.#engine)
    this.#shards.set(number, shard)
    return shard
  }

  async #read<T>(what: string, from: () => Promise<T>): Promise<T> {
    this.#checkUsable()
    try {
      return await from()
    } catch (error) {
      throw asStorageError(error, what)
    }
  }

  async #write(group: WriteGroup): Promise<void> {
    const { watermark, ledger } = this.#parts
    await storeGroup(this.#parts, group)
    watermark.note(ledger.encode())
    this.#compaction.start()
  }
}

async function measureFreeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path)
  return bavail * bsize
}
