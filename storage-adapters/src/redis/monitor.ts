/**
 * Looks at the servers twice a second: how full their memory is, and whether a primary is another one than
 * before, whose settings then have to be looked at too. What it finds is read, not told.
 */
import type { Redis } from 'ioredis'
import type { Logger } from '../logger.ts'
import { type Client, primariesOf } from './client.ts'
import type { RedisTarget } from './redis-url.ts'
import {
  promiseOf,
  readMemory,
  readSettings,
  reasonsAgainst,
  type ServerSettings,
} from './settings.ts'

export interface MonitorOptions {
  readonly client: Client
  readonly target: RedisTarget
  readonly logger: Logger
  readonly settings: readonly ServerSettings[]
}

const pollMs = 500
/** Settings can be changed while a server runs. */
const settingsEvery = 4

export class Monitor {
  promise: ReturnType<typeof promiseOf>
  /** Why `strict` does not hold any more; undefined when it does, or was not asked for. */
  broken: string | undefined
  readonly #options: MonitorOptions
  readonly #timer: NodeJS.Timeout
  #polls = 0
  #isPolling = false
  #servers = ''
  #memory: readonly { used: number; max: number }[] = []
  /** Bytes that this client has added since the last look. */
  #added = 0

  constructor(options: MonitorOptions) {
    this.#options = options
    this.promise = promiseOf(options.settings, options.target)
    this.#servers = idsOf(options.settings)
    this.#timer = setInterval(() => void this.poll(), pollMs)
    this.#timer.unref()
  }

  /** How near the fullest server is to refusing writes: 0 to 1. */
  get pressure(): number {
    const shares = this.#memory.map(({ used, max }) => (max > 0 ? (used + this.#added) / max : 0))
    return Math.min(1, Math.max(0, ...shares))
  }

  noteAdded(bytes: number): void {
    this.#added += bytes
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** One look. A server that does not answer is not counted: its shards cannot be written anyway. */
  async poll(): Promise<void> {
    if (this.#isPolling) return
    this.#isPolling = true
    const primaries = primariesOf(this.#options.client).filter(({ status }) => status === 'ready')
    try {
      this.#added = 0
      this.#memory = await Promise.all(primaries.map(readMemory))
      if (this.#polls % settingsEvery === 0) await this.#lookAtSettings(primaries)
      this.#polls += 1
    } catch {
      // The calls that need the server tell what is wrong.
      this.#polls = 0
    } finally {
      this.#isPolling = false
    }
  }

  async #lookAtSettings(primaries: readonly Redis[]): Promise<void> {
    const { target, logger } = this.#options
    const settings = await Promise.all(primaries.map(readSettings))
    if (settings.length === 0) return
    const servers = idsOf(settings)
    const before = this.promise.promise
    this.promise = promiseOf(settings, target)
    const reasons = target.strict ? settings.flatMap((one) => reasonsAgainst(one, target)) : []
    this.broken = reasons.length === 0 ? undefined : reasons.join('; ')
    if (servers !== this.#servers) logger.warn({ servers }, 'redis primaries changed')
    this.#servers = servers
    if (this.promise.promise === before) return
    logger.warn({ promise: this.promise.promise, before }, 'redis promises something else now')
  }
}

function idsOf(settings: readonly ServerSettings[]): string {
  return settings
    .map(({ address, runId }) => `${address} ${runId.slice(0, 8)}`)
    .sort()
    .join(', ')
}
