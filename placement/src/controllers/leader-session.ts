/**
 * One leadership of this member: the controllers, and what only a leader knows. Begins when everything that
 * was committed before is applied here, ends for good when the leadership does.
 */
import type { placement } from '@robust/proto'
import type { Logger } from '../logger.ts'
import type { NodeEntry } from '../metadata/state.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'
import type { Proposer } from '../replication/proposer.ts'
import { GrpcBrokerControl } from './broker-control.ts'
import { Liveness } from './liveness.ts'
import { ShardAssignment } from './shard-assignment.ts'

export interface LeaderSessionOptions {
  readonly term: number
  readonly leaseTtlMs: number
  readonly machine: MetadataMachine
  readonly proposer: Proposer
  /** Monotonic. */
  readonly nowMs: () => number
  readonly log: Logger
}

export interface KeptReport {
  readonly nodeId: string
  readonly receivedMs: number
  readonly report: placement.RuntimeReport
}

const TICK_MS = 50

export class LeaderSession {
  readonly term: number
  readonly liveness: Liveness
  readonly assignment: ShardAssignment
  readonly #options: LeaderSessionOptions
  readonly #control: GrpcBrokerControl
  readonly #reports = new Map<string, KeptReport>()
  readonly #ticker: NodeJS.Timeout
  #isStepDue = false
  #isStopped = false

  constructor(options: LeaderSessionOptions) {
    const { term, machine, proposer, nowMs, log, leaseTtlMs } = options
    this.#options = options
    this.term = term
    this.#control = new GrpcBrokerControl({ term, metadataIndex: () => machine.state.index })
    this.liveness = new Liveness({
      ttlMs: leaseTtlMs,
      tickMs: TICK_MS,
      nowMs,
      nodes: () => machine.state.nodes.values(),
      remove: (node, silenceMs) => this.#expire(node, silenceMs),
    })
    this.assignment = new ShardAssignment({
      state: () => machine.state,
      propose: (decision) => proposer.propose(decision),
      control: this.#control,
      nowMs,
      log,
    })
    this.#ticker = setInterval(() => this.#tick(), TICK_MS)
  }

  /** The latest report of each member. */
  get reports(): readonly KeptReport[] {
    return [...this.#reports.values()]
  }

  /** A heartbeat of a member at its epoch. */
  heartbeat(node: NodeEntry, report: placement.RuntimeReport | undefined): void {
    this.liveness.contact(node.nodeId, node.nodeEpoch)
    if (report === undefined) return
    const receivedMs = this.#options.nowMs()
    this.#reports.set(node.nodeId, { nodeId: node.nodeId, receivedMs, report })
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
    for (const nodeId of this.#reports.keys()) {
      if (!nodes.has(nodeId)) this.#reports.delete(nodeId)
    }
    this.liveness.tick()
    this.assignment.step()
  }

  async #expire(node: NodeEntry, silenceMs: number): Promise<void> {
    const { nodeId, nodeEpoch } = node
    const reason = `no heartbeat for ${silenceMs} ms`
    this.#options.log.warn({ errId: 'NODE_EXPIRED', nodeId, nodeEpoch }, `${nodeId}: ${reason}`)
    const decision = { kind: 'remove-node', nodeId, nodeEpoch, cause: 'time-out', reason } as const
    await this.#options.proposer.propose(decision)
  }
}
