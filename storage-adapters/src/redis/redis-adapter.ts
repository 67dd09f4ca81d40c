/**
 * The storage port on Redis: one server, a primary that Sentinels watch, or a cluster. Any number of these
 * clients may be at work at once; the fence in Redis decides. What is promised is what the servers are set
 * to, read at the start and looked at from time to time; damage is reported, never skipped.
 */
import type { Capabilities } from '../capabilities.ts'
import { StorageError } from '../errors.ts'
import { commitBytesMax } from '../limits.ts'
import type { Logger } from '../logger.ts'
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
  commitBytes,
} from '../validation.ts'
import { checkStoredShard } from './check.ts'
import { type Client, closeClient, connected, createClient, primariesOf } from './client.ts'
import { Database } from './database.ts'
import { shardKeys } from './keys.ts'
import { Link } from './link.ts'
import { Monitor } from './monitor.ts'
import { countValues, readLog, readLogs, readValue, scanValues } from './reads.ts'
import type { RedisTarget } from './redis-url.ts'
import { asStorageError } from './replies.ts'
import { checkSettings, readSettings, type ServerSettings } from './settings.ts'
import { ShardWriter } from './shard-writer.ts'
import { decodeHead, newStoredHead } from './stored-values.ts'

export interface RedisStorageOptions {
  readonly logger: Logger
  /** Milliseconds until it gives up; default: it keeps trying. */
  readonly connectMs?: number
  /** Ends the wait for the first connection. */
  readonly signal?: AbortSignal
}

/**
 * Resolves when every primary has answered. Rejects with UNAVAILABLE when none can be reached, with INVALID
 * when a server refuses the login or is not set to what is asked for.
 */
export async function openRedisStorage(
  target: RedisTarget,
  options: RedisStorageOptions,
): Promise<StorageAdapter> {
  const { logger, connectMs, signal } = options
  const client = createClient(target, (error) => logger.warn({ reason: error.message }, 'redis'))
  try {
    await connected(client, { connectMs, signal, logger })
    const settings = await Promise.all(primariesOf(client).map(readSettings))
    checkSettings(settings, target)
    const link = new Link(client, target)
    const database = new Database(link, target)
    await database.check()
    const monitor = new Monitor({ client, target, logger, settings })
    await monitor.poll()
    sayPromise(monitor, settings, logger)
    return new RedisAdapter({ client, link, database, monitor, target })
  } catch (error) {
    closeClient(client)
    throw asStorageError(error)
  }
}

/** What is promised is said where it begins to count; loudly when a crash would lose what was acknowledged. */
function sayPromise(monitor: Monitor, settings: readonly ServerSettings[], logger: Logger): void {
  const { promise, survivesOsCrash } = monitor.promise
  const servers = settings.map(({ address, version, memoryMax }) => ({
    address,
    version,
    memoryMax,
  }))
  if (survivesOsCrash) logger.info({ promise, servers }, 'storage connected')
  else logger.warn({ promise, servers }, 'storage connected, and may lose what it acknowledges')
}

interface Parts {
  readonly client: Client
  readonly link: Link
  readonly database: Database
  readonly monitor: Monitor
  readonly target: RedisTarget
}

class RedisAdapter implements StorageAdapter {
  readonly #parts: Parts
  readonly #shards = new Map<number, ShardWriter>()
  #stopping: Promise<void> | undefined

  constructor(parts: Parts) {
    this.#parts = parts
  }

  get capabilities(): Capabilities {
    return { adapter: 'redis', ...this.#parts.monitor.promise }
  }

  get pressure(): number {
    return this.#parts.monitor.pressure
  }

  async open(request: OpenRequest): Promise<OpenResult> {
    this.#checkUsable()
    checkOpen(request)
    return this.#shard(request.shard).open(request)
  }

  async commit(request: CommitRequest): Promise<void> {
    this.#checkUsable()
    checkCommit(request, commitBytesMax)
    const { broken } = this.#parts.monitor
    if (broken !== undefined) {
      throw new StorageError('FULL', `durability strict is not given any more: ${broken}`)
    }
    this.#parts.monitor.noteAdded(commitBytes(request))
    await this.#shard(request.shard).commit(request)
  }

  async read(request: ReadRequest): Promise<ReadResult> {
    this.#checkUsable()
    checkRead(request)
    return readLog(this.#parts.link, this.#prefix, request)
  }

  async get(shard: number, key: string): Promise<Uint8Array | undefined> {
    this.#checkUsable()
    checkShard(shard)
    checkName(key, 'key')
    return readValue(this.#parts.link, this.#prefix, { shard, key })
  }

  async scan(request: ScanRequest): Promise<KeyValue[]> {
    this.#checkUsable()
    checkScan(request)
    return scanValues(this.#parts.link, this.#prefix, request)
  }

  async logs(shard: number): Promise<LogInfo[]> {
    this.#checkUsable()
    checkShard(shard)
    return readLogs(this.#parts.link, this.#prefix, shard)
  }

  async shards(): Promise<number[]> {
    this.#checkUsable()
    return this.#parts.database.shards()
  }

  async stats(shard: number): Promise<ShardStats> {
    this.#checkUsable()
    checkShard(shard)
    const { link } = this.#parts
    const stored = await link.command('get', [shardKeys(this.#prefix, shard).head])
    const head = Buffer.isBuffer(stored) ? decodeHead(shard, stored) : newStoredHead()
    const logs = await readLogs(link, this.#prefix, shard)
    const values = await countValues(link, this.#prefix, shard)
    return {
      epoch: head.epoch,
      commitNumber: head.commitNumber,
      logs: logs.length,
      keys: values.keys,
      bytes: logs.reduce((sum, { bytes }) => sum + bytes, values.bytes),
      incarnation: head.incarnation,
    }
  }

  async check(shard: number): Promise<ShardCheck> {
    this.#checkUsable()
    checkShard(shard)
    const { link, database } = this.#parts
    const isNoted = await database.isNoted(shard)
    return checkStoredShard(link, this.#prefix, { shard, isNoted })
  }

  async adopt(request: AdoptRequest): Promise<void> {
    this.#checkUsable()
    checkShardEpoch(request.shard, request.epoch)
    await this.#shard(request.shard).adopt(request)
  }

  async close(shard: number, epoch: number): Promise<void> {
    this.#checkUsable()
    checkShardEpoch(shard, epoch)
    await this.#shard(shard).close(epoch)
  }

  async drop(shard: number, epoch: number): Promise<void> {
    this.#checkUsable()
    checkShardEpoch(shard, epoch)
    await this.#shard(shard).drop(epoch)
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    const { client, monitor } = this.#parts
    monitor.stop()
    await Promise.all(Array.from(this.#shards.values(), (shard) => shard.idle()))
    closeClient(client)
  }

  get #prefix(): string {
    return this.#parts.target.prefix
  }

  #checkUsable(): void {
    if (this.#stopping !== undefined)
      throw new StorageError('UNAVAILABLE', 'The storage is stopped')
  }

  #shard(number: number): ShardWriter {
    let shard = this.#shards.get(number)
    if (shard === undefined) {
      const { link, database, target } = this.#parts
      const { prefix, acceptDataLoss } = target
      shard = new ShardWriter({ shard: number, prefix, link, database, acceptDataLoss })
      this.#shards.set(number, shard)
    }
    return shard
  }
}
