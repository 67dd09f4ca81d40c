/**
 * Which brokers refuse new connections. Level-triggered: each step compares what is wished with what the
 * brokers report, and tells those that differ; so a lost call, a broker that registered again and a change
 * of leaders mend themselves.
 */
import type { Logger } from '../logger.ts'
import type { NodeEntry } from '../metadata/state.ts'
import type { BrokerControl, ThrottleOrder } from './broker-control.ts'
import type { KeptReport } from './reports.ts'

export type ThrottleCause = 'overload' | 'drain'

export interface ThrottlingOptions {
  readonly control: Pick<BrokerControl, 'throttle'>
  /** Monotonic. */
  readonly nowMs: () => number
  readonly log: Logger
}

interface Told {
  readonly nodeEpoch: number
  /** What it was told, in short. */
  readonly order: string
  readonly atMs: number
}

/** A report from before the order was taken may still arrive within this time. */
const REPEAT_MS = 2_000

export class Throttling {
  readonly #options: ThrottlingOptions
  readonly #wishes = new Map<string, Map<ThrottleCause, ThrottleOrder>>()
  readonly #told = new Map<string, Told>()

  constructor(options: ThrottlingOptions) {
    this.#options = options
  }

  isThrottled(nodeId: string): boolean {
    return (this.#wishes.get(nodeId)?.size ?? 0) > 0
  }

  /** Undefined: no more for this cause. */
  wish(nodeId: string, cause: ThrottleCause, order: ThrottleOrder | undefined): void {
    const wishes = this.#wishes.get(nodeId) ?? new Map<ThrottleCause, ThrottleOrder>()
    this.#wishes.set(nodeId, wishes)
    if (order === undefined) wishes.delete(cause)
    else wishes.set(cause, order)
  }

  step(reports: readonly KeptReport[]): void {
    for (const { node, report } of reports) {
      const wishes = this.#wishes.get(node.nodeId)
      const order = wishes?.get('drain') ?? wishes?.get('overload')
      this.#reconcile(node, order, report.throttled)
    }
  }

  /** Forgets those that are no members any more. */
  tidy(isMember: (nodeId: string) => boolean): void {
    for (const nodeId of this.#wishes.keys()) if (!isMember(nodeId)) this.#wishes.delete(nodeId)
    for (const nodeId of this.#told.keys()) if (!isMember(nodeId)) this.#told.delete(nodeId)
  }

  #reconcile(node: NodeEntry, order: ThrottleOrder | undefined, isThrottled: boolean): void {
    const { nowMs, control, log } = this.#options
    const { nodeId, nodeEpoch } = node
    const brief = briefOf(order)
    const told = this.#told.get(nodeId)
    const isTold = told?.nodeEpoch === nodeEpoch && told.order === brief
    if (isThrottled === (order !== undefined) && (isTold || order === undefined)) return
    if (isTold && nowMs() - told.atMs < REPEAT_MS) return
    this.#told.set(nodeId, { nodeEpoch, order: brief, atMs: nowMs() })
    control.throttle(node, order).catch((error: unknown) => {
      log.debug({ err: error, node: nodeId }, 'a broker did not take an order')
    })
  }
}

/** The order of the targets is no reason to tell it again. */
function briefOf(order: ThrottleOrder | undefined): string {
  if (order === undefined) return ''
  return `${order.acceptPerSecond} ${order.targets.toSorted().join(',')}`
}
