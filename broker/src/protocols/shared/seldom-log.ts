/** Warnings that one cause repeats for many clients: the first at once, then one a while, with a count. */
import type { Clock } from '../../core/ports/clock.ts'
import type { ProtocolLog } from './protocol-server.ts'

export interface SeldomFields {
  readonly errId: string
  readonly reason: string
  readonly client?: string
  readonly remote?: string
}

const REPEAT_MS = 5_000
const CAUSES_MAX = 100

export class SeldomLog {
  readonly #log: ProtocolLog
  readonly #clock: Clock
  readonly #told = new Map<string, { atMs: number; suppressed: number }>()

  constructor(log: ProtocolLog, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  warn(fields: SeldomFields, message: string): void {
    const cause = `${fields.errId} ${fields.reason}`
    const known = this.#told.get(cause)
    const now = this.#clock.nowMs()
    if (known !== undefined && now - known.atMs < REPEAT_MS) {
      known.suppressed++
      return
    }
    if (this.#told.size >= CAUSES_MAX) this.#told.clear()
    this.#told.set(cause, { atMs: now, suppressed: 0 })
    const repeated = known?.suppressed ?? 0
    this.#log.warn(repeated === 0 ? fields : { ...fields, repeated }, message)
  }
}
