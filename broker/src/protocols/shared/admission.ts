/**
 * Whether a new connection is let in: limits of this broker, and what the Placement Center says while the
 * broker is overloaded or being drained. Every protocol asks when it can tell the client the answer.
 */
import type { Clock } from '../../core/ports/clock.ts'
import { NamedCounts } from '../../core/ports/telemetry.ts'
import { TokenBucket } from './token-bucket.ts'

export type RefusalCause = 'throttled' | 'too-many' | 'too-fast' | 'no-memory'

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
    readonly listenerPerSecond: number | null
    readonly userConnectionsMax: number | null
    readonly userPerSecond: number | null
  }
  /** The broker has more in memory than it may. */
  readonly isOutOfMemory: () => boolean
  /** Where a node takes clients of a protocol, while it does. */
  readonly serverOf: (node: string, protocol: string) => string | undefined
}

/** What a protocol asks. */
export interface AdmissionPort {
  /** Undefined: come in. */
  admit(protocol: string): Refusal | undefined
  /** When it is known who it is. Undefined: come in, and `leave` at the end. */
  enter(user: string): Refusal | undefined
  leave(user: string): void
  /** The broker has more in memory than it may: publishers are read slower. */
  readonly isOutOfMemory: boolean
  /** So many connections that not even a refusal can be afforded: close the socket. */
  readonly isOverrun: boolean
}

/** Connections above the limit that are still told why they are refused. */
const REFUSED_AT_ONCE_MAX = 1_000

export class Admission implements AdmissionPort {
  readonly #options: AdmissionOptions
  #throttle: ThrottleOrder | undefined
  readonly #throttleRate: TokenBucket
  readonly #limitRate: TokenBucket
  readonly #listenerRates = new Map<string, TokenBucket>()
  readonly #users = new Map<string, { connections: number; readonly rate: TokenBucket }>()
  /** Since the process began, by cause. */
  readonly refusals = new NamedCounts()
  refused = 0

  constructor(options: AdmissionOptions) {
    this.#options = options
    this.#throttleRate = new TokenBucket(options.clock)
    this.#limitRate = new TokenBucket(options.clock)
  }

  get isThrottled(): boolean {
    return this.#throttle !== undefined
  }

  get isOverrun(): boolean {
    const { connections, limits } = this.#options
    const { connectionsMax } = limits()
    return connectionsMax !== null && connections() > connectionsMax + REFUSED_AT_ONCE_MAX
  }

  get isOutOfMemory(): boolean {
    return this.#options.isOutOfMemory()
  }

  enter(user: string): Refusal | undefined {
    const { userConnectionsMax, userPerSecond } = this.#options.limits()
    const known = this.#users.get(user) ?? {
      connections: 0,
      rate: new TokenBucket(this.#options.clock),
    }
    const refusal =
      userConnectionsMax !== null && known.connections >= userConnectionsMax
        ? refused('too-many', `the user has ${userConnectionsMax} connections already`)
        : userPerSecond !== null && !known.rate.take(userPerSecond)
          ? refused('too-fast', `more than ${userPerSecond} connections of a user in a second`)
          : undefined
    if (refusal !== undefined) {
      this.#count(refusal)
      return refusal
    }
    known.connections++
    this.#users.set(user, known)
    return undefined
  }

  leave(user: string): void {
    const known = this.#users.get(user)
    if (known !== undefined && --known.connections === 0) this.#users.delete(user)
  }

  /** Undefined: lifted. */
  throttle(order: ThrottleOrder | undefined): void {
    this.#throttle = order
  }

  admit(protocol: string): Refusal | undefined {
    const refusal = this.#refusal(protocol)
    if (refusal !== undefined) this.#count(refusal)
    return refusal
  }

  /** Of a protocol on other brokers, in the order of the nodes. */
  servers(nodes: readonly string[], protocol: string): readonly string[] {
    return nodes.flatMap((node) => this.#options.serverOf(node, protocol) ?? [])
  }

  #count({ cause }: Refusal): void {
    this.refused++
    this.refusals.add(cause)
  }

  #refusal(protocol: string): Refusal | undefined {
    const throttle = this.#throttle
    if (throttle !== undefined && !this.#throttleRate.take(throttle.acceptPerSecond)) {
      const servers = this.servers(throttle.targets, protocol)
      // In turn: all at the best one would be the next overload.
      const server = servers[this.refused % servers.length]
      return { cause: 'throttled', reason: `the broker is ${throttle.reason}`, server }
    }
    const { connections, limits } = this.#options
    const { connectionsMax, perSecond, listenerPerSecond } = limits()
    if (this.isOutOfMemory) return refused('no-memory', 'the broker is short of memory')
    if (connectionsMax !== null && connections() > connectionsMax) {
      return refused('too-many', `there are ${connectionsMax} connections already`)
    }
    if (perSecond !== null && !this.#limitRate.take(perSecond)) {
      return refused('too-fast', `more than ${perSecond} connections in a second`)
    }
    if (listenerPerSecond !== null && !this.#listenerRate(protocol).take(listenerPerSecond)) {
      return refused(
        'too-fast',
        `more than ${listenerPerSecond} connections of a listener in a second`,
      )
    }
    return undefined
  }

  #listenerRate(listener: string): TokenBucket {
    const rate = this.#listenerRates.get(listener) ?? new TokenBucket(this.#options.clock)
    this.#listenerRates.set(listener, rate)
    return rate
  }
}

function refused(cause: RefusalCause, reason: string): Refusal {
  return { cause, reason, server: undefined }
}
