/**
 * Moves a share of the clients to other brokers, of each protocol as many as it has its share of, and not
 * faster than it is told: they all connect somewhere else.
 */
import type { Clock, Timer } from '../../core/ports/clock.ts'
import type { ProtocolServer } from './protocol-server.ts'

export interface MoveOrder {
  /** Of the clients connected now, in (0, 1]. */
  readonly share: number
  /** 0: all at once. */
  readonly perSecond: number
  readonly closeOthers: boolean
  /** `host:port` of a protocol on other brokers; asked for again as time goes on. */
  readonly servers: (protocol: string) => readonly string[]
}

interface Quota {
  readonly server: ProtocolServer
  left: number
}

const STEP_MS = 50
/** In one turn of the event loop. */
const STEP_CLIENTS_MAX = 500

export class ClientMover {
  readonly #clock: Clock
  #timer: Timer | undefined
  /** Since the process began. */
  moved = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Takes the place of an order that is under way. Answers how many clients are to be moved. */
  move(servers: readonly ProtocolServer[], order: MoveOrder): number {
    this.stop()
    const quotas = servers.map((server) => ({
      server,
      left: Math.ceil(server.connections * order.share),
    }))
    const total = quotas.reduce((sum, { left }) => sum + left, 0)
    this.#step(quotas, order, 0)
    return total
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #step(quotas: readonly Quota[], order: MoveOrder, saved: number): void {
    const { perSecond } = order
    const earned = perSecond === 0 ? STEP_CLIENTS_MAX : (perSecond * STEP_MS) / 1_000
    let budget = Math.min(saved + earned, STEP_CLIENTS_MAX)
    for (const quota of quotas) {
      const asked = Math.min(Math.floor(budget), quota.left)
      if (asked === 0) continue
      const servers = order.servers(quota.server.protocol)
      const { closeOthers, servers: serversBy } = order
      const moved = quota.server.moveClients(asked, { servers, serversBy, closeOthers })
      quota.left = moved < asked ? 0 : quota.left - moved
      budget -= moved
      this.moved += moved
    }
    this.#timer = undefined
    if (quotas.every(({ left }) => left === 0)) return
    this.#timer = this.#clock.after(STEP_MS, () => this.#step(quotas, order, budget))
  }
}
