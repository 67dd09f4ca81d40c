/**
 * Whether a new connection is let in: limits of this broker, and what the Placement Center says while the
 * broker is overloaded or being drained. Every protocol asks when it can tell the client the answer.
 */
import type { Clock } from '../../core/ports/clock.ts'

export type RefusalCause = 'throttled' | 'too-many' | 'too-fast'

export interface Refusal {
  readonly cause: RefusalCause
  readonly reason: string
  /** `host:port` to try instead. */
  readonly server: string | undefined
}

export interface ThrottleOrder {
  readonly acceptPerSecond: number
  /** Node ids that clients are sent to, the best first. */
  readonly targets: readonly string[]
  readonly reason: string
}

export interface AdmissionOptions {
  readonly clock: Clock
  /** Open now, those that ask included. */
  readonly connections: () => number
  /** Null: none. */
  readonly limits: () => {
    readonly connectionsMax: number | null
    readonly perSecond: number | null
  }
  /** Where a node takes clients of a protocol, while it does. */
  readonly serverOf: (node: string, protocol: string) => string | undefined
}

/** What a protocol asks. */
export interface AdmissionPort {
  /** Undefined: come in. */
  admit(protocol: string): Refusal | undefined
  /** So many connections that not even a refusal can be afforded: close the socket. */
  readonly isOverrun: boolean
}

/** Connections above the limit that are still told why they are refused. */
const REFUSED_AT_ONCE_MAX = 1_000

export class Admission implements AdmissionPort {
  readonly #options: AdmissionOptions
  #throttle: ThrottleOrder | undefined
  readonly #throttleRate: Rate
  readonly #limitRate: Rate
  /** Since the process began. */
  refused = 0

  constructor(options: AdmissionOptions) {
    this.#options = options
    this.#throttleRate = new Rate(options.clock)
    this.#limitRate = new Rate(options.clock)
  }

  get isThrottled(): boolean {
    return this.#throttle !== undefined
  }

  get isOverrun(): boolean {
    const { connections, limits } = this.#options
    const { connectionsMax } = limits()
    return connectionsMax !== null && connections() > connectionsMax + REFUSED_AT_ONCE_MAX
  }

  /** Undefined: lifted. */
  throttle(order: ThrottleOrder | undefined): void {
    this.#throttle = order
  }

  admit(protocol: string): Refusal | undefined {
    const refusal = this.#refusal(protocol)
    if (refusal !== undefined) this.refused++
    return refusal
  }

  /** Of a protocol on other brokers, in the order of the nodes. */
  servers(nodes: readonly string[], protocol: string): readonly string[] {
    return nodes.flatMap((node) => this.#options.serverOf(node, protocol) ?? [])
  }

  #refusal(protocol: string): Refusal | undefined {
    const throttle = this.#throttle
    if (throttle !== undefined && !this.#throttleRate.take(throttle.acceptPerSecond)) {
      const [server] = this.servers(throttle.targets, protocol)
      return { cause: 'throttled', reason: `the broker is ${throttle.reason}`, server }
    }
    const { connections, limits } = this.#options
    const { connectionsMax, perSecond } = limits()
    if (connectionsMax !== null && connections() > connectionsMax) {
      const reason = `there are ${connectionsMax} connections already`
      return { cause: 'too-many', reason, server: undefined }
    }
    if (perSecond !== null && !this.#limitRate.take(perSecond)) {
      const reason = `more than ${perSecond} connections in a second`
      return { cause: 'too-fast', reason, server: undefined }
    }
    return undefined
  }
}

/** A token bucket that holds a second's worth, and at least one. */
class Rate {
  readonly #clock: Clock
  #tokens = 1
  #atMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#atMs = clock.nowMs()
  }

  /** Whether there was one. */
  take(perSecond: number): boolean {
    const nowMs = this.#clock.nowMs()
    const earned = ((nowMs - this.#atMs) / 1_000) * perSecond
    this.#atMs = nowMs
    if (perSecond <= 0) return false
    this.#tokens = Math.min(Math.max(1, perSecond), this.#tokens + earned)
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }
}
