/**
 * Looks at the servers each second: how full their memory is, and whether a primary is another one than
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

const pollMs = 1000
/** Settings can be changed while a server runs. */
const settingsEvery = 10

export class Monitor {
  /** How near the fullest server is to refusing writes: 0 to 1. */
  pressure = 0
  promise: ReturnType<typeof promiseOf>
  /** Why `strict` does not hold any more; undefined when it does, or was not asked for. */
  broken: string | undefined
  readonly #options: MonitorOptions
  readonly #timer: NodeJS.Timeout
  #polls = 0
  #isPolling = false
  #servers = ''

  constructor(options: MonitorOptions) {
    this.#options = options
    this.promise = promiseOf(options.settings, options.target)
    this.#servers = idsOf(options.settings)
    this.#timer = setInterval(() => void this.poll(), pollMs)
    this.#timer.unref()
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
      const memory = await Promise.all(primaries.map(readMemory))
      this.pressure = Math.max(0, ...memory.map(({ used, max }) => (max > 0 ? used / max : 0)))
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
