/**
 * The clients of draining brokers: refused, then moved to the others, all of them. The shards are the
 * assignment's; when the deadline has passed they are taken, and the clients that are left are closed. The
 * deadline is counted by each leader from its own beginning, so a change of leaders can only lengthen it.
 */
import type { NodeEntry } from '../metadata/state.ts'
import type { SettingsView } from '../settings.ts'
import type { BrokerControl } from './broker-control.ts'
import { type RecordDecision, targetsFor } from './overload.ts'
import type { KeptReport } from './reports.ts'
import type { Throttling } from './throttling.ts'

export interface DrainOptions {
  readonly settings: SettingsView
  readonly throttling: Throttling
  readonly control: Pick<BrokerControl, 'shed'>
  readonly assignment: { takeAll(nodeId: string): void }
  readonly nodes: () => Iterable<NodeEntry>
  readonly shardsOf: (node: NodeEntry) => number
  readonly isOverloaded: (nodeId: string) => boolean
  readonly record: RecordDecision
  /** Monotonic. */
  readonly nowMs: () => number
}

interface Draining {
  readonly nodeEpoch: number
  readonly sinceMs: number
  shedAtMs: number
  isShedding: boolean
  isOverdue: boolean
  hasClients: boolean
}

/** Clients that were told may take this long to go, and others may have got in meanwhile. */
const SHED_AGAIN_MS = 5_000

export class Drain {
  readonly #options: DrainOptions
  readonly #draining = new Map<string, Draining>()

  constructor(options: DrainOptions) {
    this.#options = options
  }

  /** Call regularly, with reports that are fresh. */
  step(reports: readonly KeptReport[]): void {
    const now = new Set<string>()
    for (const node of this.#options.nodes()) {
      if (node.drain === undefined) continue
      now.add(node.nodeId)
      this.#attend(node, reports)
    }
    for (const nodeId of this.#draining.keys()) {
      if (now.has(nodeId)) continue
      this.#draining.delete(nodeId)
      this.#options.throttling.wish(nodeId, 'drain', undefined)
    }
  }

  #attend(node: NodeEntry, reports: readonly KeptReport[]): void {
    const { throttling, isOverloaded } = this.#options
    const state = this.#stateOf(node)
    const targets = targetsFor(node, reports, isOverloaded)
    throttling.wish(node.nodeId, 'drain', { acceptPerSecond: 0, targets, reason: 'draining' })
    this.#checkDeadline(node, state)
    const report = reports.find((kept) => kept.node.nodeId === node.nodeId)?.report
    if (report === undefined) return
    if (report.connections === 0) this.#noteEmpty(node, state)
    else if (targets.length > 0) this.#moveClients(node, state, targets)
  }

  #stateOf(node: NodeEntry): Draining {
    const { nodeId, nodeEpoch } = node
    const known = this.#draining.get(nodeId)
    if (known?.nodeEpoch === nodeEpoch) return known
    const state: Draining = {
      nodeEpoch,
      sinceMs: this.#options.nowMs(),
      shedAtMs: Number.NEGATIVE_INFINITY,
      isShedding: false,
      isOverdue: false,
      hasClients: false,
    }
    this.#draining.set(nodeId, state)
    return state
  }

  #checkDeadline(node: NodeEntry, state: Draining): void {
    const { nowMs, assignment, shardsOf, record } = this.#options
    const deadlineMs = node.drain?.deadlineMs ?? 0
    if (state.isOverdue || nowMs() - state.sinceMs < deadlineMs) return
    state.isOverdue = true
    state.shedAtMs = Number.NEGATIVE_INFINITY
    const shards = shardsOf(node)
    if (shards === 0 && !state.hasClients) return
    assignment.takeAll(node.nodeId)
    const rest = `${shards} shards are granted to others without its consent`
    record('DrainDeadline', node.nodeId, `${deadlineMs / 1000} s have passed; ${rest}`)
  }

  #noteEmpty(node: NodeEntry, state: Draining): void {
    if (!state.hasClients) return
    state.hasClients = false
    this.#options.record('ClientsMoved', node.nodeId, 'it has no client any more')
  }

  #moveClients(node: NodeEntry, state: Draining, targets: readonly string[]): void {
    const { settings, control, nowMs, record } = this.#options
    state.hasClients = true
    if (state.isShedding || nowMs() - state.shedAtMs < SHED_AGAIN_MS) return
    state.shedAtMs = nowMs()
    state.isShedding = true
    const perSecond = state.isOverdue ? 0 : settings.get('overload.shed-per-second')
    const order = { share: 1, perSecond, targets, closeOthers: true, reason: 'draining' }
    control
      .shed(node, order)
      .then((clients) => {
        const reason = `${clients} clients are moved to ${targets.join(', ')}: it is draining`
        if (clients > 0) record('ClientsShed', node.nodeId, reason)
      })
      // Told again in a moment.
      .catch(() => undefined)
      .finally(() => {
        state.isShedding = false
      })
  }
}
