/**
 * Follows the Raft role: makes a session when this member leads and is ready to, ends it when it does not.
 * The first leader ever makes the cluster.
 */
import type { Raft, RaftEvent } from 'raft-ts'
import { PlacementError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'
import { asPlacementError, notLeader, type Proposer } from '../replication/proposer.ts'
import { LeaderSession } from './leader-session.ts'

export interface LeadershipOptions {
  readonly raft: Raft
  readonly machine: MetadataMachine
  readonly proposer: Proposer
  readonly clusterId: string
  /** Of a cluster that does not exist yet. */
  readonly shardCount: number
  readonly leaseTtlMs: number
  readonly heartbeatMs: number
  /** A leader without a majority for so long answers no heartbeat. */
  readonly quorumContactMaxMs: number
  readonly nowMs: () => number
  readonly log: Logger
  /** This member led and does not any more. */
  readonly onLost: (error: PlacementError) => void
}

const RETRY_MS = 100

export class Leadership {
  readonly #options: LeadershipOptions
  readonly #unobserve: () => void
  #session: LeaderSession | undefined
  /** Of the leadership that is being prepared or led. */
  #leadingTerm: number | undefined
  #isStopped = false

  constructor(options: LeadershipOptions) {
    this.#options = options
    this.#unobserve = options.raft.observe((event) => this.#event(event))
    const changed = (): void => this.#session?.changed()
    options.machine.observe({ changed, restored: changed })
  }

  get current(): LeaderSession | undefined {
    return this.#session
  }

  /** @throws PlacementError NOT_LEADER, NO_LEADER */
  require(): LeaderSession {
    if (this.#session !== undefined) return this.#session
    throw this.#redirect()
  }

  /** The same, and a majority follows this member now. */
  requireQuorum(): LeaderSession {
    const session = this.require()
    const { raft, quorumContactMaxMs } = this.#options
    const { lastQuorumContactMs } = raft.status()
    if (lastQuorumContactMs === undefined || lastQuorumContactMs > quorumContactMaxMs) {
      throw new PlacementError('NO_LEADER', 'this leader has no contact with a majority')
    }
    return session
  }

  stop(): void {
    this.#isStopped = true
    this.#unobserve()
    this.#end()
  }

  #redirect(): PlacementError {
    if (this.#leadingTerm !== undefined) {
      return new PlacementError('NO_LEADER', 'this leader is not ready yet')
    }
    return notLeader(this.#options.raft.status().leaderAddress)
  }

  #event(event: RaftEvent): void {
    if (event.kind !== 'role' && event.kind !== 'term' && event.kind !== 'fatal') return
    const { raft } = this.#options
    const { role, term } = raft.status()
    const leadingTerm = role === 'leader' && event.kind !== 'fatal' ? term : undefined
    if (leadingTerm === this.#leadingTerm) return
    this.#end()
    this.#leadingTerm = leadingTerm
    if (leadingTerm !== undefined) void this.#begin(leadingTerm)
  }

  #end(): void {
    const session = this.#session
    this.#session = undefined
    this.#leadingTerm = undefined
    if (session === undefined) return
    session.stop()
    this.#options.log.info({ term: session.term }, 'this member does not lead any more')
    this.#options.onLost(this.#redirect())
  }

  async #begin(term: number): Promise<void> {
    while (this.#isLeading(term)) {
      try {
        await this.#prepare(term)
        break
      } catch (error) {
        this.#options.log.debug({ err: error, term }, 'the new leader is not ready yet')
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
      }
    }
    if (!this.#isLeading(term)) return
    const { machine, proposer, leaseTtlMs, heartbeatMs, nowMs, log } = this.#options
    this.#session = new LeaderSession({
      term,
      machine,
      proposer,
      leaseTtlMs,
      heartbeatMs,
      nowMs,
      log,
    })
    log.info({ term, nodes: machine.state.nodes.size }, 'this member leads')
    this.#session.changed()
  }

  #isLeading(term: number): boolean {
    return this.#leadingTerm === term && !this.#isStopped
  }

  /** Everything that was committed is applied, the cluster exists, and the change of leaders is on record. */
  async #prepare(term: number): Promise<void> {
    const { raft, machine, proposer, clusterId, shardCount, log } = this.#options
    await raft.readIndex().catch((error: unknown) => {
      throw asPlacementError(error)
    })
    const { state } = machine
    if (state.clusterId === '') {
      await proposer.propose({ kind: 'bootstrap', clusterId, shardCount })
    } else if (state.shards.length !== shardCount) {
      const fields = { shards: state.shards.length, asked: shardCount }
      log.warn(fields, 'the number of shards is that of the existing cluster')
    }
    const { nodeId } = raft.status()
    const event = { kind: 'LeaderElected', subject: nodeId, reason: `term ${term}`, shards: [] }
    await proposer.propose({ kind: 'record-event', event })
  }
}
