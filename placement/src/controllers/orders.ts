/**
 * Orders that stand until the metadata shows that they were carried out: given again when a broker did not
 * take one, or took it and did nothing. Keyed by shard; an order for another epoch replaces the one before.
 */
import type { NodeEntry, ShardEntry } from '../metadata/state.ts'

export interface StandingOrder {
  readonly shard: ShardEntry
  readonly node: NodeEntry
  readonly sinceMs: number
  /** Undefined until the broker has taken it. */
  takenAtMs: number | undefined
  triedAtMs: number
  isUnderWay: boolean
  /** The decision log was told that it takes long. */
  isReported: boolean
}

export interface OrdersOptions {
  readonly nowMs: () => number
  /** Between tries at a broker that does not answer. */
  readonly retryMs: number
  /** After which a taken order counts as not carried out. */
  readonly timeoutMs: number
  readonly give: (node: NodeEntry, shards: readonly ShardEntry[]) => Promise<void>
  readonly onFailure: (node: NodeEntry, error: unknown) => void
}

export class Orders {
  readonly #options: OrdersOptions
  readonly #standing = new Map<number, StandingOrder>()

  constructor(options: OrdersOptions) {
    this.#options = options
  }

  get shards(): ReadonlySet<number> {
    return new Set(this.#standing.keys())
  }

  has(shard: number): boolean {
    return this.#standing.has(shard)
  }

  stand(shard: ShardEntry, node: NodeEntry): void {
    if (this.#standing.get(shard.shard)?.shard.epoch === shard.epoch) return
    const nowMs = this.#options.nowMs()
    this.#standing.set(shard.shard, {
      shard,
      node,
      sinceMs: nowMs,
      takenAtMs: undefined,
      triedAtMs: Number.NEGATIVE_INFINITY,
      isUnderWay: false,
      isReported: false,
    })
  }

  /** Forgets the orders that have no point any more. */
  keepIf(isStanding: (order: StandingOrder) => boolean): void {
    for (const [shard, order] of this.#standing) {
      if (!isStanding(order)) this.#standing.delete(shard)
    }
  }

  /** Orders that have stood for longer than the time-out. */
  overdue(): readonly StandingOrder[] {
    const { nowMs, timeoutMs } = this.#options
    return [...this.#standing.values()].filter((order) => nowMs() - order.sinceMs > timeoutMs)
  }

  /** Gives every order that is due, those for one node together. */
  giveDue(): void {
    const nowMs = this.#options.nowMs()
    const due = new Map<NodeEntry, StandingOrder[]>()
    for (const order of this.#standing.values()) {
      if (!this.#isDue(order, nowMs)) continue
      const batch = due.get(order.node)
      if (batch === undefined) due.set(order.node, [order])
      else batch.push(order)
    }
    for (const [node, orders] of due) void this.#give(node, orders)
  }

  #isDue(order: StandingOrder, nowMs: number): boolean {
    const { retryMs, timeoutMs } = this.#options
    if (order.isUnderWay) return false
    return order.takenAtMs === undefined
      ? nowMs - order.triedAtMs >= retryMs
      : nowMs - order.takenAtMs >= timeoutMs
  }

  async #give(node: NodeEntry, orders: readonly StandingOrder[]): Promise<void> {
    const { nowMs, give, onFailure } = this.#options
    for (const order of orders) {
      order.isUnderWay = true
      order.triedAtMs = nowMs()
    }
    try {
      await give(
        node,
        orders.map((order) => order.shard),
      )
      for (const order of orders) order.takenAtMs = nowMs()
    } catch (error) {
      for (const order of orders) order.takenAtMs = undefined
      onFailure(node, error)
    } finally {
      for (const order of orders) order.isUnderWay = false
    }
  }
}
