/**
 * Whether storage answers this broker, as those who ask it for a shard say. When nobody asks any more, since the broker
 * has lost all its shards meanwhile, it asks itself: else it would count as cut off for ever.
 */
import { type StorageAdapter, StorageError } from '@robust/storage-adapters'
import type { Clock } from '../core/ports/clock.ts'

export interface StorageHealthOptions {
  readonly storage: Pick<StorageAdapter, 'stats'>
  readonly clock: Clock
  /** Nobody asks storage for a shard. */
  readonly isIdle: () => boolean
  readonly log: {
    info(fields: object, message: string): void
    error(fields: object, message: string): void
  }
}

const ASK_MS = 1_000
/** Any will do. */
const SHARD = 0

export class StorageHealth {
  readonly #options: StorageHealthOptions
  #isAvailable = true
  #isAsking = false
  #isStopped = false

  constructor(options: StorageHealthOptions) {
    this.#options = options
  }

  get isAvailable(): boolean {
    return this.#isAvailable
  }

  answered(): void {
    if (this.#isAvailable) return
    this.#isAvailable = true
    this.#options.log.info({}, 'storage answers again')
  }

  failed(fields: object, what: string): void {
    if (this.#isAvailable) this.#options.log.error(fields, what)
    this.#isAvailable = false
    if (!this.#isAsking) void this.#ask()
  }

  stop(): void {
    this.#isStopped = true
  }

  async #ask(): Promise<void> {
    const { storage, clock, isIdle } = this.#options
    this.#isAsking = true
    while (!this.#isAvailable && !this.#isStopped) {
      await new Promise<void>((resolve) => clock.after(ASK_MS, resolve))
      if (!isIdle()) continue
      const isAnswer = await storage.stats(SHARD).then(
        () => true,
        (error: unknown) => error instanceof StorageError && error.code !== 'UNAVAILABLE',
      )
      if (isAnswer && isIdle()) this.answered()
    }
    this.#isAsking = false
  }
}
