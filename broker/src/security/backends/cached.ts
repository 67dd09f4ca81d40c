/** Answers of a back end, kept for a while: good ones and bad ones for times of their own. */
import { createHmac, randomBytes } from 'node:crypto'
import type { Clock } from '../../core/ports/clock.ts'
import type { Backend, BackendAnswer, BackendCredentials } from './backend.ts'

export interface CacheTimes {
  /** ms; 0: not kept. */
  readonly goodMs: number
  readonly badMs: number
}

interface Kept {
  readonly answer: Promise<BackendAnswer>
  untilMs: number
}

const KEPT_MAX = 10_000

export class CachedBackend implements Backend {
  readonly name: string
  readonly #backend: Backend
  readonly #times: () => CacheTimes
  readonly #clock: Clock
  readonly #kept = new Map<string, Kept>()
  /** Passwords are not kept, not even as plain hashes. */
  readonly #secret = randomBytes(32)

  constructor(backend: Backend, clock: Clock, times: () => CacheTimes) {
    this.name = backend.name
    this.#backend = backend
    this.#clock = clock
    this.#times = times
  }

  /** Who asks the same while the answer is under way waits for it. */
  check(credentials: BackendCredentials): Promise<BackendAnswer> {
    const key = this.#keyOf(credentials)
    const known = this.#kept.get(key)
    if (known !== undefined && known.untilMs > this.#clock.nowMs()) return known.answer
    const kept: Kept = {
      answer: this.#backend.check(credentials),
      untilMs: Number.POSITIVE_INFINITY,
    }
    this.#kept.delete(key)
    this.#kept.set(key, kept)
    if (this.#kept.size > KEPT_MAX) this.#dropOldest()
    kept.answer.then(
      (answer) => {
        const { goodMs, badMs } = this.#times()
        kept.untilMs = this.#clock.nowMs() + (answer.kind === 'in' ? goodMs : badMs)
      },
      // That it could not be asked is no answer.
      () => this.#kept.delete(key),
    )
    return kept.answer
  }

  stop(): void {
    this.#backend.stop()
  }

  #dropOldest(): void {
    for (const key of this.#kept.keys()) {
      this.#kept.delete(key)
      return
    }
  }

  #keyOf(credentials: BackendCredentials): string {
    const { clientId, username, password, certificateName, remoteAddress } = credentials
    const secret = password === undefined ? null : Buffer.from(password).toString('base64')
    const parts = [clientId, username ?? null, secret, certificateName ?? null, remoteAddress]
    return createHmac('sha256', this.#secret).update(JSON.stringify(parts)).digest('base64')
  }
}
