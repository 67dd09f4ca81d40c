/**
 * Gives every shard an owner and keeps the owners balanced. Level-triggered: each step looks at the metadata
 * as it is and does what is missing, so nothing is lost with a failed call or a change of leaders.
 * Commits a grant first and orders the broker after; asks an owner for a shard, and grants it on only when
 * the release is committed.
 */
import type { Logger } from '../logger.ts'
import type { ApplyResult } from '../metadata/apply.ts'
import type { GrantShards, RecordEvent } from '../metadata/commands.ts'
import {
  isOwnedBy,
  type MetadataState,
  type NodeEntry,
  nodeAt,
  type ShardEntry,
} from '../metadata/state.ts'
import { type Plan, type PlannedMove, planAssignment } from './assignment-plan.ts'
import type { BrokerControl } from './broker-control.ts'
import { type FinishedMove, MoveLedger } from './move-ledger.ts'
import { Orders, type StandingOrder } from './orders.ts'

export interface AssignmentOptions {
  readonly state: () => MetadataState
  readonly propose: (
    decision: Omit<GrantShards, 'timeMs'> | Omit<RecordEvent, 'timeMs'>,
  ) => Promise<ApplyResult>
  readonly control: Pick<BrokerControl, 'acquire' | 'release' | 'keepOnly'>
  /** Monotonic. */
  readonly nowMs: () => number
  readonly log: Logger
  /** Shards that are between two owners at once. */
  readonly movesMax: () => number
  readonly limits?: Partial<AssignmentLimits>
}

export interface AssignmentLimits {
  /**
   * A first grant, and moves for balance, wait until no node has come or gone for so long; twice as long
   * for each node that was removed lately, since one that comes and goes is not worth any move.
   */
  readonly settleMs: number
  readonly settleLongestMs: number
  readonly latelyMs: number
  /** But a first grant waits no longer than this. */
  readonly settleMaxMs: number
  readonly openTimeoutMs: number
  readonly releaseTimeoutMs: number
  readonly retryMs: number
  /** A node that gives shards back unasked is about to leave; it gets none for so long. */
  readonly leavingMs: number
}

export const ASSIGNMENT_LIMITS: AssignmentLimits = {
  settleMs: 300,
  settleLongestMs: 10_000,
  latelyMs: 60_000,
  settleMaxMs: 1_000,
  openTimeoutMs: 5_000,
  releaseTimeoutMs: 10_000,
  retryMs: 250,
  leavingMs: 5_000,
}

export class ShardAssignment {
  readonly #options: AssignmentOptions
  readonly #limits: AssignmentLimits
  readonly #acquiring: Orders
  readonly #releasing: Orders
  readonly #ledger = new MoveLedger()
  #finished: FinishedMove[] = []
  /** Node ids whose drain has taken longer than allowed: what they own is granted to others. */
  readonly #overdue = new Set<string>()
  /** By node id: until when it counts as leaving. */
  readonly #leaving = new Map<string, number>()
  #membership: ReadonlySet<string> = new Set()
  /** A node has come since the shards were last spread evenly. */
  #isBalancing = false
  #membersChangedMs: number
  /** When nodes were removed, lately. */
  #removals: number[] = []
  #firstMemberMs: number | undefined
  /** Owners as last seen, and why shards have none any more: for the reasons of grants. */
  readonly #owners = new Map<number, NodeEntry>()
  readonly #freed = new Map<number, string>()
  #isProposing = false
  #isStopped = false

  constructor(options: AssignmentOptions) {
    this.#options = options
    this.#limits = { ...ASSIGNMENT_LIMITS, ...options.limits }
    const { nowMs, control, log } = options
    const { retryMs, openTimeoutMs, releaseTimeoutMs } = this.#limits
    this.#membersChangedMs = nowMs()
    const onFailure = (node: NodeEntry, error: unknown): void => {
      log.debug({ err: error, node: node.nodeId }, 'a broker did not take an order')
    }
    this.#acquiring = new Orders({
      nowMs,
      retryMs,
      timeoutMs: openTimeoutMs,
      give: (node, shards) => control.acquire(node, shards),
      onFailure,
    })
    this.#releasing = new Orders({
      nowMs,
      retryMs,
      timeoutMs: releaseTimeoutMs,
      give: (node, shards) => this.#askFor(node, shards),
      onFailure,
    })
  }

  /** Shards that their owners were asked for and still have. */
  get movesUnderWay(): number {
    return this.#releasing.shards.size
  }

  /** Call before a release is proposed. One of an earlier registration says nothing about the node of now. */
  releasing(
    { nodeId, nodeEpoch }: Pick<NodeEntry, 'nodeId' | 'nodeEpoch'>,
    shards: readonly number[],
  ): void {
    if (nodeAt(this.#options.state(), nodeId, nodeEpoch) === undefined) return
    if (shards.every((shard) => this.#releasing.has(shard))) return
    this.#leaving.set(nodeId, this.#options.nowMs() + this.#limits.leavingMs)
  }

  /**
   * Moves a shard when its owner serves it. The target gets it if it may own shards then. A shard that is
   * being moved already is not asked for again.
   */
  move(shard: ShardEntry, { to, reason }: { to: string | undefined; reason: string }): void {
    if (shard.owner === undefined) return
    const { shard: number, epoch, owner } = shard
    this.#ledger.want({ shard: number, epoch, from: owner.nodeId, to, reason })
    this.step()
  }

  /** Whether a shard is wanted elsewhere, or on its way. */
  isMoving(shard: number): boolean {
    return this.#ledger.get(shard) !== undefined
  }

  /** What the node owns is granted to others without its consent, until it is no drained member any more. */
  takeAll(nodeId: string): void {
    this.#overdue.add(nodeId)
  }

  stop(): void {
    this.#isStopped = true
  }

  /** One look, and what follows from it. Call on every change of the metadata, and regularly. */
  step(): void {
    if (this.#isStopped) return
    this.#noteMembers()
    this.#noteFreed()
    this.#reconcileOrders()
    this.#noteFinished()
    this.#reportOverdue()
    if (!this.#isProposing) this.#carryOut(this.#plan())
    this.#acquiring.giveDue()
    this.#releasing.giveDue()
  }

  #nodes(): readonly NodeEntry[] {
    const nodes = [...this.#options.state().nodes.values()]
    return nodes.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
  }

  #noteMembers(): void {
    const { control, nowMs } = this.#options
    const nodes = this.#nodes()
    const membership = new Set(
      nodes.map(
        ({ nodeId, nodeEpoch, drain }) => `${nodeId}@${nodeEpoch}${drain ? ' drains' : ''}`,
      ),
    )
    const came = [...membership].some((member) => !this.#membership.has(member))
    const still = new Set(nodes.map(({ nodeId, nodeEpoch }) => `${nodeId}@${nodeEpoch}`))
    for (const member of this.#membership) {
      if (!still.has(member.replace(' drains', ''))) this.#removals.push(nowMs())
    }
    if (came || membership.size !== this.#membership.size) {
      this.#isBalancing ||= came && isUneven(this.#options.state())
      this.#membership = membership
      this.#membersChangedMs = nowMs()
      control.keepOnly(nodes)
      const isMember = (nodeId: string): boolean => nodes.some((node) => node.nodeId === nodeId)
      for (const nodeId of this.#leaving.keys()) if (!isMember(nodeId)) this.#leaving.delete(nodeId)
    }
    for (const nodeId of this.#overdue) {
      if (this.#options.state().nodes.get(nodeId)?.drain === undefined) this.#overdue.delete(nodeId)
    }
    if (nodes.length === 0) this.#firstMemberMs = undefined
    else this.#firstMemberMs ??= nowMs()
  }

  /** Before the orders are reconciled: one that was carried out is still there. */
  #noteFreed(): void {
    const state = this.#options.state()
    for (const { shard, owner } of state.shards) {
      const node = owner && nodeAt(state, owner.nodeId, owner.nodeEpoch)
      if (node !== undefined) {
        this.#owners.set(shard, node)
        this.#freed.delete(shard)
        continue
      }
      const before = this.#owners.get(shard)
      if (before === undefined) continue
      this.#owners.delete(shard)
      const { nodeId, nodeEpoch } = before
      if (this.#releasing.has(shard)) {
        const reason = this.#ledger.get(shard)?.reason ?? 'for balance'
        this.#freed.set(shard, `moved from ${nodeId}, ${reason}`)
      } else if (nodeAt(state, nodeId, nodeEpoch) === undefined) {
        this.#freed.set(shard, `${nodeId} was removed`)
      } else {
        this.#freed.set(shard, `${nodeId} gave it back`)
      }
    }
  }

  #reconcileOrders(): void {
    const state = this.#options.state()
    const isCurrent = ({ shard, node }: StandingOrder): boolean =>
      state.shards[shard.shard]?.epoch === shard.epoch &&
      state.shards[shard.shard]?.owner !== undefined &&
      nodeAt(state, node.nodeId, node.nodeEpoch) !== undefined
    this.#acquiring.keepIf(
      (order) => isCurrent(order) && state.shards[order.shard.shard]?.opened === false,
    )
    this.#releasing.keepIf(isCurrent)
    for (const shard of state.shards) {
      const { owner, opened } = shard
      const node = owner && nodeAt(state, owner.nodeId, owner.nodeEpoch)
      if (node !== undefined && !opened) this.#acquiring.stand(shard, node)
    }
  }

  #plan(): Plan {
    const { nowMs, state } = this.#options
    const { shards } = state()
    const nodes = this.#nodes()
    const quietMs = nowMs() - this.#membersChangedMs
    const isSettled = quietMs >= this.#settleMs()
    const isServed = nodes.some((node) => shards.some((shard) => isOwnedBy(shard, node)))
    const waitedMs = nowMs() - (this.#firstMemberMs ?? nowMs())
    // When nobody owns anything the cluster is coming up: whoever starts a moment later gets a share too.
    if (!isServed && !isSettled && waitedMs < this.#limits.settleMaxMs) {
      return { grants: [], moves: [] }
    }
    const stuck = this.#stuck()
    const plan = planAssignment({
      nodes,
      shards,
      leaving: this.#leavingNow(),
      moving: new Set([...this.#releasing.shards].filter((shard) => !stuck.has(shard))),
      stuck,
      wanted: this.#ledger.wanted,
      targets: this.#ledger.targets,
      movesMax: this.#options.movesMax(),
      balance: isSettled && this.#isBalancing,
    })
    if (isSettled && this.#isBalancing) this.#noteBalanced(plan)
    return plan
  }

  /** From now on shards stay where load or an operator moves them, until a node comes. */
  #noteBalanced({ grants, moves }: Plan): void {
    const isBusy = grants.length + moves.length + this.#releasing.shards.size > 0
    const nodes = this.#nodes().filter(({ drain }) => drain === undefined)
    if (isBusy || nodes.length === 0) return
    // A node that does not leave after all must get its share.
    const leaving = this.#leavingNow()
    if (nodes.some(({ nodeId }) => leaving.has(nodeId))) return
    this.#isBalancing = false
    const { shards } = this.#options.state()
    const counts = nodes.map((node) => {
      const count = shards.filter((shard) => isOwnedBy(shard, node)).length
      return `${node.nodeId} ${count}`
    })
    const event = { kind: 'ShardsBalanced', subject: '', reason: counts.join(', '), shards: [] }
    this.#options.propose({ kind: 'record-event', event }).catch(() => undefined)
  }

  #settleMs(): number {
    const { settleMs, settleLongestMs, latelyMs } = this.#limits
    const nowMs = this.#options.nowMs()
    this.#removals = this.#removals.filter((atMs) => nowMs - atMs < latelyMs)
    return Math.min(settleMs * 2 ** this.#removals.length, settleLongestMs)
  }

  #leavingNow(): ReadonlySet<string> {
    const nowMs = this.#options.nowMs()
    for (const [nodeId, untilMs] of this.#leaving) {
      if (untilMs <= nowMs) this.#leaving.delete(nodeId)
    }
    return new Set(this.#leaving.keys())
  }

  /** A higher epoch fences the owner as well as its consent does, so in the end it is done without. */
  #stuck(): ReadonlySet<number> {
    const { nodes, shards } = this.#options.state()
    const unopened = this.#acquiring
      .overdue()
      .filter(({ node }) => nodes.get(node.nodeId)?.drain !== undefined)
    const unreleased = this.#releasing.overdue()
    const late = shards.filter(
      ({ owner }) => owner !== undefined && this.#overdue.has(owner.nodeId),
    )
    const ordered = [...unopened, ...unreleased].map(({ shard }) => shard)
    return new Set([...ordered, ...late].map(({ shard }) => shard))
  }

  #carryOut({ grants, moves }: Plan): void {
    if (grants.length > 0) {
      void this.#proposeAlone({
        kind: 'grant-shards',
        grants: grants.map(({ shard, to }) => ({
          shard: shard.shard,
          nodeId: to.nodeId,
          nodeEpoch: to.nodeEpoch,
          prevEpoch: shard.epoch,
          reason: this.#grantReason(shard),
        })),
      })
    }
    const stories = new Map<string, { node: NodeEntry; reason: string; shards: ShardEntry[] }>()
    for (const { shard, from, why } of moves) {
      const { shard: number, epoch } = shard
      const reason = this.#ledger.get(number)?.reason ?? MOVE_REASONS[why]
      this.#ledger.want({ shard: number, epoch, from: from.nodeId, to: undefined, reason })
      this.#releasing.stand(shard, from)
      const key = `${from.nodeId} ${reason}`
      const story = stories.get(key) ?? { node: from, reason, shards: [] }
      story.shards.push(shard)
      stories.set(key, story)
    }
    for (const story of stories.values()) this.#record('ShardsMoving', story)
  }

  #askFor(node: NodeEntry, shards: readonly ShardEntry[]): Promise<void> {
    const { control, nowMs } = this.#options
    this.#ledger.begun(shards, nowMs())
    const reasons = shards.map(({ shard }) => this.#ledger.get(shard)?.reason ?? 'for balance')
    return control.release(node, { shards, reason: [...new Set(reasons)].join('; ') })
  }

  /** Told together, when the batch is through. */
  #noteFinished(): void {
    const { state, nowMs } = this.#options
    this.#finished.push(...this.#ledger.settle(state(), nowMs()))
    if (this.#finished.length === 0 || this.#releasing.shards.size > 0) return
    const stories = new Map<string, FinishedMove[]>()
    for (const move of this.#finished) {
      const key = `${move.from} ${move.to} ${move.reason}`
      stories.set(key, [...(stories.get(key) ?? []), move])
    }
    this.#finished = []
    for (const moves of stories.values()) this.#recordMoved(moves)
  }

  #recordMoved(moves: readonly FinishedMove[]): void {
    const [first] = moves
    if (first === undefined) return
    const gaps = moves.map(({ gapMs }) => gapMs)
    const gap = `away for ${Math.min(...gaps)} to ${Math.max(...gaps)} ms`
    const reason = `from ${first.from}, ${first.reason}; ${gap}`
    const shards = moves.map(({ shard }) => shard)
    const event = { kind: 'ShardsMoved', subject: first.to, reason, shards }
    this.#options.propose({ kind: 'record-event', event }).catch(() => undefined)
  }

  #grantReason({ shard, epoch, owner }: ShardEntry): string {
    if (epoch === 0) return 'first grant'
    if (owner !== undefined && this.#overdue.has(owner.nodeId)) {
      return `${owner.nodeId} was to be drained by now`
    }
    if (owner !== undefined) return `${owner.nodeId} does not do what it was told`
    return this.#freed.get(shard) ?? 'nobody owned it'
  }

  #reportOverdue(): void {
    this.#report(this.#acquiring.overdue(), 'ShardsNotOpened')
    this.#report(this.#releasing.overdue(), 'ShardsNotReleased')
  }

  /** The node lives, but does not do what it was told: said once, tried on. */
  #report(orders: readonly StandingOrder[], kind: string): void {
    const byNode = new Map<NodeEntry, ShardEntry[]>()
    for (const order of orders) {
      if (order.isReported) continue
      order.isReported = true
      byNode.set(order.node, [...(byNode.get(order.node) ?? []), order.shard])
    }
    for (const [node, shards] of byNode) {
      const reason = `${node.nodeId} was told and has not done it; it is told again`
      this.#options.log.warn(
        { errId: kind, node: node.nodeId, shards: shards.map(({ shard }) => shard) },
        reason,
      )
      this.#record(kind, { node, reason, shards })
    }
  }

  #record(
    kind: string,
    story: { node: NodeEntry; reason: string; shards: readonly ShardEntry[] },
  ): void {
    const { node, reason } = story
    const shards = story.shards.map(({ shard }) => shard)
    const event = { kind, subject: node.nodeId, reason, shards }
    // An event that cannot be logged is no reason to stop; the leadership is lost in that case.
    this.#options.propose({ kind: 'record-event', event }).catch(() => undefined)
  }

  /** While a grant is on its way the metadata does not show it: nothing else is planned. */
  async #proposeAlone(decision: Omit<GrantShards, 'timeMs'>): Promise<void> {
    this.#isProposing = true
    try {
      await this.#options.propose(decision)
      this.#isProposing = false
      this.step()
    } catch (error) {
      this.#isProposing = false
      this.#options.log.debug({ err: error }, 'a grant was not committed')
    }
  }
}

const MOVE_REASONS: Readonly<Record<PlannedMove['why'], string>> = {
  wanted: 'as asked for',
  draining: 'which is draining',
  balance: 'for balance',
}

/** Whether a node has come since the shards were spread evenly, as far as the decision log goes back. */
function isUneven({ events }: MetadataState): boolean {
  const kinds = events.after(0).map(({ kind }) => kind)
  const came = Math.max(kinds.lastIndexOf('NodeRegistered'), kinds.lastIndexOf('NodeUndrained'))
  return came > kinds.lastIndexOf('ShardsBalanced')
}
