/**
 * One leadership of this member: the controllers, and what only a leader knows. Begins when everything that
 * was committed before is applied here, ends for good when the leadership does.
 */
import type { placement } from '@robust/proto'
import type { Logger } from '../logger.ts'
import { revisionAt } from '../metadata/revision.ts'
import { type NodeEntry, revisionOf, shardsOf } from '../metadata/state.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'
import type { Proposer } from '../replication/proposer.ts'
import { settingsOf } from '../settings.ts'
import { GrpcBrokerControl } from './broker-control.ts'
import { Drain } from './drain.ts'
import { Liveness } from './liveness.ts'
import { Overload, type RecordDecision } from './overload.ts'
import { Rebalance } from './rebalance.ts'
import { type KeptReport, Reports } from './reports.ts'
import { ShardAssignment } from './shard-assignment.ts'
import { Throttling } from './throttling.ts'

export interface LeaderSessionOptions {
  readonly term: number
  readonly leaseTtlMs: number
  readonly heartbeatMs: number
  readonly machine: MetadataMachine
  readonly proposer: Proposer
  /** Monotonic. */
  readonly nowMs: () => number
  readonly log: Logger
}

const TICK_MS = 50

/** Heartbeats that may be late before the last report says nothing about now. */
const FRESH_HEARTBEATS = 3

export class LeaderSession {
  readonly term: number
  readonly liveness: Liveness
  readonly assignment: ShardAssignment
  readonly #options: LeaderSessionOptions
  readonly #control: GrpcBrokerControl
  readonly #reports: Reports
  readonly #throttling: Throttling
  readonly #overload: Overload
  readonly #drain: Drain
  readonly #rebalance: Rebalance
  readonly #ticker: NodeJS.Timeout
  #isStepDue = false
  #isStopped = false

  constructor(options: LeaderSessionOptions) {
    const { term, machine, proposer, nowMs, log, leaseTtlMs, heartbeatMs } = options
    this.#options = options
    this.term = term
    this.#control = new GrpcBrokerControl({
      term: () => this.authorityTerm,
      metadataIndex: () => revisionOf(machine.state),
    })
    this.liveness = new Liveness({
      ttlMs: leaseTtlMs,
      tickMs: TICK_MS,
      nowMs,
      nodes: () => machine.state.nodes.values(),
      remove: (node, silenceMs) => this.#expire(node, silenceMs),
    })
    const settings = settingsOf(() => machine.state)
    const control = this.#control
    this.assignment = new ShardAssignment({
      state: () => machine.state,
      propose: (decision) => proposer.propose(decision),
      control,
      nowMs,
      log,
      movesMax: () => settings.get('assignment.moves-max'),
    })
    const { assignment } = this
    const record: RecordDecision = (kind, subject, reason) => this.#record(kind, subject, reason)
    const nodes = () => machine.state.nodes
    this.#reports = new Reports({ nowMs, nodes, freshMs: heartbeatMs * FRESH_HEARTBEATS })
    const throttling = new Throttling({ control, nowMs, log })
    this.#throttling = throttling
    this.#overload = new Overload({ settings, throttling, control, record, nowMs })
    this.#drain = new Drain({
      settings,
      throttling,
      control,
      assignment,
      nodes: () => machine.state.nodes.values(),
      shardsOf: (node) => shardsOf(machine.state, node).length,
      isOverloaded: (nodeId) => this.#overload.isOverloaded(nodeId),
      record,
      nowMs,
    })
    const shard = (number: number) => machine.state.shards[number]
    this.#rebalance = new Rebalance({ settings, assignment, shard, record, nowMs })
    this.#ticker = setInterval(() => this.#tick(), TICK_MS)
  }

  /** The term as brokers know it: it goes on growing over a restore from a backup. */
  get authorityTerm(): number {
    return revisionAt(this.#options.machine.state.generation, this.term)
  }

  /** The latest report of each member. */
  get reports(): readonly KeptReport[] {
    return this.#reports.all()
  }

  /** A heartbeat of a member at its epoch. */
  heartbeat(node: NodeEntry, report: placement.RuntimeReport | undefined): void {
    this.liveness.contact(node.nodeId, node.nodeEpoch)
    if (report !== undefined) this.#reports.add(node, report)
  }

  /** Call when the metadata has changed. The controllers look at it after the commands that came with it. */
  changed(): void {
    if (this.#isStepDue || this.#isStopped) return
    this.#isStepDue = true
    setImmediate(() => {
      this.#isStepDue = false
      this.assignment.step()
    })
  }

  stop(): void {
    this.#isStopped = true
    clearInterval(this.#ticker)
    this.assignment.stop()
    this.#control.stop()
  }

  #tick(): void {
    const { nodes } = this.#options.machine.state
    const isMember = (nodeId: string): boolean => nodes.has(nodeId)
    this.#reports.tidy()
    for (const each of [this.#throttling, this.#overload, this.#rebalance]) each.tidy(isMember)
    this.liveness.tick()
    const fresh = this.#reports.fresh()
    this.#drain.step(fresh)
    this.#overload.step(fresh)
    this.#rebalance.step(fresh)
    this.#throttling.step(fresh)
    this.assignment.step()
  }

  #record(kind: string, subject: string, reason: string): void {
    this.#options.log.info({ kind, subject }, reason)
    const event = { kind, subject, reason, shards: [] }
    // An event that cannot be logged is no reason to stop; the leadership is lost in that case.
    this.#options.proposer.propose({ kind: 'record-event', event }).catch(() => undefined)
  }

  async #expire(node: NodeEntry, silenceMs: number): Promise<void> {
    const { nodeId, nodeEpoch } = node
    const reason = `no heartbeat for ${silenceMs} ms`
    this.#options.log.warn({ errId: 'NODE_EXPIRED', nodeId, nodeEpoch }, `${nodeId}: ${reason}`)
    const decision = { kind: 'remove-node', nodeId, nodeEpoch, cause: 'time-out', reason } as const
    await this.#options.proposer.propose(decision)
  }
}
