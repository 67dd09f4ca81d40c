/** The storage adapter, with a stopwatch at each operation. */
import {
  type CommitRequest,
  type OpenRequest,
  type ReadRequest,
  type ScanRequest,
  type StorageAdapter,
  StorageError,
} from '@robust/storage-adapters'
import { NamedCounts, NamedLatencies } from './core/ports/telemetry.ts'

export class MeasuredStorage implements StorageAdapter {
  readonly #storage: StorageAdapter
  /** By operation. */
  readonly latencies = new NamedLatencies()
  /** Names are `OPERATION CODE`. */
  readonly errors = new NamedCounts()

  constructor(storage: StorageAdapter) {
    this.#storage = storage
  }

  get capabilities() {
    return this.#storage.capabilities
  }

  get pressure(): number {
    return this.#storage.pressure ?? 0
  }

  open(request: OpenRequest) {
    return this.#timed('open', () => this.#storage.open(request))
  }

  commit(request: CommitRequest) {
    return this.#timed('commit', () => this.#storage.commit(request))
  }

  read(request: ReadRequest) {
    return this.#timed('read', () => this.#storage.read(request))
  }

  get(shard: number, key: string) {
    return this.#timed('get', () => this.#storage.get(shard, key))
  }

  scan(request: ScanRequest) {
    return this.#timed('scan', () => this.#storage.scan(request))
  }

  logs(shard: number) {
    return this.#timed('logs', () => this.#storage.logs(shard))
  }

  close(shard: number, epoch: number) {
    return this.#timed('close', () => this.#storage.close(shard, epoch))
  }

  shards() {
    return this.#storage.shards()
  }

  stats(shard: number) {
    return this.#storage.stats(shard)
  }

  drop(shard: number, epoch: number) {
    return this.#storage.drop(shard, epoch)
  }

  stop() {
    return this.#storage.stop()
  }

  async #timed<T>(operation: string, run: () => Promise<T>): Promise<T> {
    const startedAt = performance.now()
    try {
      return await run()
    } catch (error) {
      this.errors.add(`${operation} ${error instanceof StorageError ? error.code : 'UNKNOWN'}`)
      throw error
    } finally {
      this.latencies.of(operation).record(performance.now() - startedAt)
    }
  }
}
