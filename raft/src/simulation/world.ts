/**
 * A cluster of cores in virtual time: one tick at a time, with a network, disks and processes that
 * misbehave on request. A seed decides everything. Every promise of Raft is checked after every step.
 */
import assert from 'node:assert'
import type { ChangeOutcome, MembershipChange } from '../core/membership.ts'
import type { LogEntry, RaftMessage, SnapshotHeader } from '../core/messages.ts'
import { PROTOCOL_VERSION } from '../core/messages.ts'
import { RaftNode } from '../core/node.ts'
import type { TickTimings } from '../core/state.ts'
import { decodeVerdict } from '../core/state-check.ts'
import type { TransferOutcome } from '../core/transfer.ts'
import { LogDamagedError } from '../errors.ts'
import { DEFAULT_LIMITS, type RaftLimits } from '../options.ts'
import { seededRandom } from '../testing/random.ts'
import type { SimulatedDisk } from './disk.ts'
import { chain, type Host, newHost, recordedVoters } from './host.ts'
import { Invariants, votersOf } from './invariants.ts'
import { type Faults, Network, NO_FAULTS } from './network.ts'

export interface WorldOptions {
  readonly seed: number
  readonly memberCount: number
  /** More hosts, which are down and no members until they are started and added. */
  readonly spareCount?: number
  readonly limits?: Partial<RaftLimits>
  readonly timings?: Partial<TickTimings>
  /** Told what happens, for who wants to read along. */
  readonly onEvent?: (text: string) => void
}

export const WORLD_TIMINGS: TickTimings = {
  heartbeat: 3,
  electionMin: 20,
  electionMax: 40,
  bootstrapElectionMin: 2,
  bootstrapElectionMax: 8,
  storageStall: 30,
  stateCheck: 90,
}

/** A process that was paused makes up for so many ticks before it looks at what waits. */
const CATCH_UP_TICKS = 10

export interface WorldCounts {
  crashes: number
  pauses: number
  syncErrors: number
  bitFlips: number
  damagedStarts: number
  confirmedReads: number
  installedSnapshots: number
  stateVerdicts: number
}

export class World {
  readonly invariants = new Invariants()
  readonly random: () => number
  readonly network: Network
  readonly counts: WorldCounts = {
    crashes: 0,
    pauses: 0,
    syncErrors: 0,
    bitFlips: 0,
    damagedStarts: 0,
    confirmedReads: 0,
    installedSnapshots: 0,
    stateVerdicts: 0,
  }
  readonly #options: WorldOptions
  readonly #initialIds: readonly string[]
  readonly #hosts = new Map<string, Host>()
  readonly #limits: RaftLimits
  faults: Faults = NO_FAULTS
  /** Members whose disk completes no write. */
  readonly stuckDisks = new Set<string>()
  /** Members whose state was found to deviate, and which have stopped. */
  readonly deviants: string[] = []
  tickCount = 0
  #lastToken = 0
  #checkedCommit = 0

  constructor(options: WorldOptions) {
    this.#options = options
    this.random = seededRandom(options.seed)
    this.network = new Network(this.random)
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits }
    const { memberCount, spareCount = 0 } = options
    const ids = Array.from({ length: memberCount + spareCount }, (_, at) => `n${at + 1}`)
    this.#initialIds = ids.slice(0, memberCount)
    for (const id of ids) this.#hosts.set(id, newHost(id))
    for (const id of this.#initialIds) this.start(id)
  }

  /** All hosts, the spare ones and those that were made later last. */
  get ids(): readonly string[] {
    return [...this.#hosts.keys()]
  }

  node(id: string): RaftNode {
    const node = this.#host(id).node
    assert(node !== undefined, `${id} is down`)
    return node
  }

  isUp(id: string): boolean {
    return this.#host(id).node !== undefined
  }

  isDamaged(id: string): boolean {
    return this.#host(id).isDamaged
  }

  isPaused(id: string): boolean {
    return this.#host(id).pausedAt !== undefined
  }

  state(id: string): string {
    return this.#host(id).state
  }

  disk(id: string): SimulatedDisk {
    return this.#host(id).disk
  }

  /** The leader with the highest term, if any. */
  leader(): string | undefined {
    const leaders = this.ids.filter((id) => this.isUp(id) && this.node(id).role === 'leader')
    return leaders.sort((a, b) => this.node(b).term - this.node(a).term)[0]
  }

  /** The voters by the configurations that a host may act by: its newest, and the one before it. */
  votersBy(id: string): readonly (readonly string[])[] {
    const recorded = recordedVoters(this.#host(id))
    const isNew = recorded.length === 0 && this.#initialIds.includes(id)
    return isNew ? [this.#initialIds] : recorded
  }

  /** Returns false when its disk is damaged: it stays down. */
  start(id: string): boolean {
    const host = this.#host(id)
    const opened = this.#open(host)
    if (opened === undefined) return false
    const { stored, snapshot } = opened
    const isSpare = !this.#initialIds.includes(id)
    host.life += 1
    host.state = snapshot?.state ?? ''
    host.sinceSnapshot = 0
    host.hashes.clear()
    host.node = new RaftNode({
      id,
      clusterId: 'world',
      incarnation: `${id}/${host.life}`,
      // A spare host knows only itself; it must learn of everyone else.
      members: (isSpare ? [id] : this.#initialIds).map((member) => ({
        id: member,
        address: member,
      })),
      isJoining: isSpare,
      isHashing: true,
      timings: { ...WORLD_TIMINGS, ...this.#options.timings },
      limits: this.#limits,
      random: this.random,
      stored,
      snapshot: snapshot?.meta,
    })
    this.note(`${id} starts`)
    return true
  }

  #open(host: Host): ReturnType<SimulatedDisk['open']> | undefined {
    try {
      const opened = host.disk.open()
      host.isDamaged = false
      return opened
    } catch (error) {
      if (!(error instanceof LogDamagedError)) throw error
      this.counts.damagedStarts += 1
      this.note(`${host.id} finds its disk damaged`)
      return undefined
    }
  }

  /** A power loss: the running write is lost, or, as may happen, was just completed. */
  crash(id: string): void {
    const host = this.#host(id)
    if (host.write !== undefined && this.random() < 0.3) host.disk.write(host.write.content)
    this.#end(host)
    this.counts.crashes += 1
    this.note(`${id} crashes`)
  }

  #end(host: Host): void {
    host.write = undefined
    host.node = undefined
    host.pausedAt = undefined
    host.reads.clear()
    this.network.forget(host.id)
  }

  /** SIGSTOP: nothing runs, what comes waits, the running write may still complete. */
  pause(id: string): void {
    const host = this.#host(id)
    if (host.node === undefined || host.pausedAt !== undefined) return
    host.pausedAt = this.tickCount
    this.network.hold(id)
    this.counts.pauses += 1
    this.note(`${id} is paused`)
  }

  resume(id: string): void {
    const host = this.#host(id)
    if (host.pausedAt === undefined) return
    const missed = Math.min(this.tickCount - host.pausedAt, CATCH_UP_TICKS)
    host.pausedAt = undefined
    this.network.unhold(id, this.tickCount)
    this.note(`${id} goes on`)
    for (let tick = 0; tick < missed; tick += 1) {
      host.node?.tick()
      this.#settle(host)
    }
  }

  /** A bit of its disk flips; noticed when it is opened next. */
  flipBit(id: string): void {
    const host = this.#host(id)
    host.disk.flipBit(this.random)
    host.isDamaged = true
    this.counts.bitFlips += 1
    this.note(`a bit flips on the disk of ${id}`)
  }

  setDrift(id: string, drift: number): void {
    this.#host(id).drift = drift
  }

  /** A new host with an empty disk, as a spare. */
  addHost(id: string): void {
    assert(!this.#hosts.has(id), `${id} is an id that was used`)
    this.#hosts.set(id, newHost(id))
  }

  /** As broken memory would: the state is another one from here on. */
  corruptState(id: string): void {
    this.#host(id).state = 'corrupt'
  }

  cut(from: string, to: string): void {
    this.network.cut(from, to)
  }

  isolate(id: string): void {
    this.network.isolate(id, this.ids)
  }

  /** Cuts all links between these hosts and the others. */
  split(side: readonly string[]): void {
    this.network.split(side, this.ids)
  }

  heal(): void {
    this.network.heal()
  }

  propose(id: string, text: string): boolean {
    const outcome = this.node(id).propose(Buffer.from(text, 'latin1'))
    this.#settle(this.#host(id))
    return outcome.kind === 'appended'
  }

  change(id: string, change: MembershipChange): ChangeOutcome {
    const outcome = this.node(id).changeMembership(change)
    this.#settle(this.#host(id))
    if (outcome.kind === 'appended') this.note(`${id}: ${change.kind} ${change.member.id}`)
    return outcome
  }

  transfer(id: string, to: string | undefined, timeoutTicks: number): TransferOutcome {
    const outcome = this.node(id).transferLeadership(to, timeoutTicks)
    this.#settle(this.#host(id))
    if (outcome.kind === 'started') this.note(`${id} hands over to ${outcome.to}`)
    return outcome
  }

  /** Once confirmed, the read must see everything that was committed when it was asked. */
  read(id: string): void {
    this.#lastToken += 1
    const host = this.#host(id)
    if (!this.node(id).readIndex(this.#lastToken)) return
    host.reads.set(this.#lastToken, this.invariants.highestCommit)
    this.#settle(host)
  }

  note(text: string): void {
    this.#options.onEvent?.(`${this.tickCount}: ${text}`)
  }

  run(ticks: number): void {
    for (let tick = 0; tick < ticks; tick += 1) this.tick()
  }

  /** Runs until the condition holds; fails after so many ticks. */
  runUntil(condition: () => boolean, ticksMax: number): void {
    for (let tick = 0; tick < ticksMax; tick += 1) {
      if (condition()) return
      this.tick()
    }
    assert(condition(), `the condition did not hold within ${ticksMax} ticks`)
  }

  tick(): void {
    this.tickCount += 1
    for (const host of this.#hosts.values()) {
      if (host.node === undefined || host.pausedAt !== undefined) continue
      for (let ticks = this.#ticksOf(host); ticks > 0; ticks -= 1) host.node?.tick()
      this.#settle(host)
    }
    for (const parcel of this.network.due(this.tickCount)) {
      if (parcel.kind === 'message') this.deliver(parcel.message)
      else this.#install(parcel.header, parcel.state)
    }
    for (const host of this.#hosts.values()) this.#completeWrite(host)
  }

  #ticksOf({ drift }: Host): number {
    if (drift === 0 || this.random() >= Math.abs(drift)) return 1
    return drift > 0 ? 2 : 0
  }

  checkLogMatching(): void {
    const nodes = [...this.#hosts.values()].flatMap((host) => host.node ?? [])
    Invariants.checkLogMatching(nodes)
  }

  /** Gives a message to a member, as if it had come over the network. */
  deliver(message: RaftMessage): void {
    const host = this.#host(message.to)
    host.node?.step(message)
    this.#settle(host)
  }

  #install(header: SnapshotHeader, state: string): void {
    const host = this.#host(header.to)
    const { node } = host
    if (node?.admits(header) !== true) return
    const verdict = node.judgeSnapshot(header)
    if (verdict === 'receive') {
      host.disk.storeSnapshot({ meta: header.snapshot, state })
      host.state = state
      host.sinceSnapshot = 0
      host.hashes.clear()
      node.adoptSnapshot(header.snapshot)
      this.counts.installedSnapshots += 1
    }
    node.answerSnapshot(header, verdict !== 'stale')
    this.#settle(host)
  }

  #completeWrite(host: Host): void {
    if (host.write === undefined || host.node === undefined || host.pausedAt !== undefined) return
    if (host.write.dueTick > this.tickCount || this.stuckDisks.has(host.id)) return
    const { content } = host.write
    if (this.random() < this.faults.syncError) {
      if (this.random() < 0.5) host.disk.write(content)
      this.#end(host)
      this.counts.syncErrors += 1
      this.note(`a write of ${host.id} fails`)
      return
    }
    host.disk.write(content)
    host.write = undefined
    host.node.written()
    this.#settle(host)
  }

  /** What a driver does after each event, and the checks. */
  #settle(host: Host): void {
    const { node, id } = host
    if (node === undefined) return
    const ready = node.ready()
    this.invariants.check(node, id)
    this.invariants.checkConfiguration(node, id)
    this.#checkCommit(node)
    for (const message of ready.messages) {
      this.invariants.checkPromise(message, host.disk)
      this.network.send(message, { faults: this.faults, nowTick: this.tickCount })
    }
    if (ready.write !== undefined) {
      this.invariants.checkWrite(id, ready.write)
      const delay = Math.floor(this.random() * (this.faults.writeDelayMax + 1))
      host.write = { content: ready.write, dueTick: this.tickCount + delay }
    }
    for (const read of ready.reads) {
      const floor = host.reads.get(read.token) ?? 0
      assert(read.index >= floor, `a read at ${read.index} misses what was committed at ${floor}`)
      this.counts.confirmedReads += 1
    }
    for (const peer of ready.snapshotPeers) this.#sendSnapshot(host, node, peer)
    for (const entry of node.nextCommitted(5)) this.#apply(host, node, entry)
    if (host.sinceSnapshot >= this.#limits.snapshotEntries) this.#takeSnapshot(host, node)
  }

  /** What a leader takes for committed is on the disks of a majority of its voters. */
  #checkCommit(node: RaftNode): void {
    const index = node.log.commitIndex
    if (node.role !== 'leader' || index <= this.#checkedCommit) return
    this.#checkedCommit = index
    const term = node.log.termAt(index)
    const voters = votersOf(node.members)
    const holders = voters.filter((id) => this.#hosts.get(id)?.disk.holds({ index, term }))
    assert(
      holders.length > voters.length / 2,
      `${index} is committed by ${holders.join()} of ${voters.join()}`,
    )
  }

  #apply(host: Host, node: RaftNode, entry: LogEntry): void {
    if (host.node !== node) return
    host.state = chain(host.state, entry)
    if (host.state !== 'corrupt') this.invariants.applied(host.id, entry, host.state)
    node.applied(entry.index)
    host.sinceSnapshot += 1
    if (entry.kind === 'state-check') {
      host.hashes.set(entry.index, host.state)
      node.reportStateHash(entry.index, host.state)
    }
    if (entry.kind !== 'state-verdict') return
    this.counts.stateVerdicts += 1
    const { index, hash } = decodeVerdict(entry.data)
    if ((host.hashes.get(index) ?? hash) === hash) return
    this.deviants.push(host.id)
    this.#end(host)
  }

  #takeSnapshot(host: Host, node: RaftNode): void {
    if (host.node !== node) return
    const index = node.log.appliedIndex
    const term = node.log.termAt(index) ?? 0
    const members = node.membersAt(index)
    const configurationIndex = node.configurationIndexAt(index)
    const content = { bytes: host.state.length, sha256: host.state }
    const meta = { index, term, members, configurationIndex, ...content }
    host.disk.storeSnapshot({ meta, state: host.state })
    host.sinceSnapshot = 0
    node.compactBehind(meta)
  }

  #sendSnapshot(host: Host, node: RaftNode, peer: string): void {
    const snapshot = host.disk.writtenSnapshot
    assert(snapshot !== undefined, 'the log was compacted without a snapshot')
    node.snapshotStarted(peer, snapshot.meta.index)
    const header: SnapshotHeader = {
      protocolVersion: PROTOCOL_VERSION,
      clusterId: 'world',
      from: host.id,
      to: peer,
      incarnation: `${host.id}/${host.life}`,
      address: host.id,
      term: node.term,
      snapshot: snapshot.meta,
    }
    this.network.sendSnapshot(header, snapshot.state, {
      faults: this.faults,
      nowTick: this.tickCount,
    })
    // The transport gives up after a while; without effect if the answer came.
    node.snapshotFailed(peer)
  }

  #host(id: string): Host {
    const host = this.#hosts.get(id)
    assert(host !== undefined, `there is no ${id}`)
    return host
  }
}
