/**
 * A cluster of cores in virtual time: one tick at a time, with a network and disks that misbehave on
 * request. A seed decides everything. Every promise of Raft is checked after every step.
 */
import assert from 'node:assert'
import type { ChangeOutcome, MembershipChange } from '../core/membership.ts'
import type { LogEntry, RaftMessage, SnapshotHeader, SnapshotMeta } from '../core/messages.ts'
import { PROTOCOL_VERSION } from '../core/messages.ts'
import { RaftNode } from '../core/node.ts'
import type { TickTimings } from '../core/state.ts'
import type { TransferOutcome } from '../core/transfer.ts'
import { DEFAULT_LIMITS, type RaftLimits } from '../options.ts'
import type { LogWrite, StoredLog } from '../ports/log-store.ts'
import { Invariants, votersOf } from './invariants.ts'
import { seededRandom } from './random.ts'

export interface WorldOptions {
  readonly seed: number
  readonly memberCount: number
  /** More hosts, which are down and no members until they are started and added. */
  readonly spareCount?: number
  readonly limits?: Partial<RaftLimits>
}

/** Probabilities per message or tick; delays in ticks. */
export interface Faults {
  readonly drop: number
  readonly duplicate: number
  readonly delayMax: number
  readonly writeDelayMax: number
}

export const NO_FAULTS: Faults = { drop: 0, duplicate: 0, delayMax: 0, writeDelayMax: 0 }

export const WORLD_TIMINGS: TickTimings = {
  heartbeat: 3,
  electionMin: 20,
  electionMax: 40,
  bootstrapElectionMin: 2,
  bootstrapElectionMax: 8,
  storageStall: 30,
  stateCheck: 0,
}

interface Disk {
  stored: StoredLog
  snapshot: { readonly meta: SnapshotMeta; readonly state: string } | undefined
}

interface Host {
  readonly id: string
  readonly disk: Disk
  life: number
  node: RaftNode | undefined
  write: { readonly content: LogWrite; readonly dueTick: number } | undefined
  /** The state machine: a hash chain over everything applied. */
  state: string
  sinceSnapshot: number
  readonly reads: Map<number, number>
}

type Parcel =
  | { readonly kind: 'message'; readonly dueTick: number; readonly message: RaftMessage }
  | {
      readonly kind: 'snapshot'
      readonly dueTick: number
      readonly header: SnapshotHeader
      readonly state: string
    }

export class World {
  readonly invariants = new Invariants()
  readonly random: () => number
  /** All hosts, the spare ones last. */
  readonly ids: readonly string[]
  readonly #initialIds: readonly string[]
  readonly #hosts: ReadonlyMap<string, Host>
  readonly #cut = new Set<string>()
  readonly #limits: RaftLimits
  #parcels: Parcel[] = []
  faults: Faults = NO_FAULTS
  /** Members whose disk completes no write. */
  readonly stuckDisks = new Set<string>()
  tickCount = 0
  confirmedReads = 0
  installedSnapshots = 0
  #lastToken = 0
  #checkedCommit = 0

  constructor(options: WorldOptions) {
    this.random = seededRandom(options.seed)
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits }
    const { memberCount, spareCount = 0 } = options
    this.ids = Array.from({ length: memberCount + spareCount }, (_, at) => `n${at + 1}`)
    this.#initialIds = this.ids.slice(0, memberCount)
    this.#hosts = new Map(this.ids.map((id) => [id, newHost(id)]))
    for (const id of this.#initialIds) this.start(id)
  }

  node(id: string): RaftNode {
    const node = this.#host(id).node
    assert(node !== undefined, `${id} is down`)
    return node
  }

  isUp(id: string): boolean {
    return this.#host(id).node !== undefined
  }

  state(id: string): string {
    return this.#host(id).state
  }

  /** The leader with the highest term, if any. */
  leader(): string | undefined {
    const leaders = this.ids.filter((id) => this.isUp(id) && this.node(id).role === 'leader')
    return leaders.sort((a, b) => this.node(b).term - this.node(a).term)[0]
  }

  start(id: string): void {
    const host = this.#host(id)
    const { stored, snapshot } = host.disk
    const isSpare = !this.#initialIds.includes(id)
    host.life += 1
    host.state = snapshot?.state ?? ''
    host.sinceSnapshot = 0
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
      timings: WORLD_TIMINGS,
      limits: this.#limits,
      random: this.random,
      stored,
      snapshot: snapshot?.meta,
    })
  }

  /** A power loss: the running write is lost, or, as may happen, was just completed. */
  crash(id: string): void {
    const host = this.#host(id)
    if (host.write !== undefined && this.random() < 0.3) store(host.disk, host.write.content)
    host.write = undefined
    host.node = undefined
    host.reads.clear()
  }

  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`)
  }

  isolate(id: string): void {
    for (const other of this.ids) {
      this.cut(id, other)
      this.cut(other, id)
    }
  }

  /** Cuts all links between these hosts and the others. */
  split(side: readonly string[]): void {
    for (const a of side) {
      for (const b of this.ids.filter((id) => !side.includes(id))) {
        this.cut(a, b)
        this.cut(b, a)
      }
    }
  }

  heal(): void {
    this.#cut.clear()
  }

  propose(id: string, text: string): boolean {
    const outcome = this.node(id).propose(Buffer.from(text, 'latin1'))
    this.#settle(this.#host(id))
    return outcome.kind === 'appended'
  }

  change(id: string, change: MembershipChange): ChangeOutcome {
    const outcome = this.node(id).changeMembership(change)
    this.#settle(this.#host(id))
    return outcome
  }

  transfer(id: string, to: string | undefined, timeoutTicks: number): TransferOutcome {
    const outcome = this.node(id).transferLeadership(to, timeoutTicks)
    this.#settle(this.#host(id))
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
      if (host.node === undefined) continue
      host.node.tick()
      this.#settle(host)
    }
    const due = this.#parcels.filter((parcel) => parcel.dueTick <= this.tickCount)
    this.#parcels = this.#parcels.filter((parcel) => parcel.dueTick > this.tickCount)
    for (const parcel of due) this.#deliver(parcel)
    for (const host of this.#hosts.values()) this.#completeWrite(host)
  }

  checkLogMatching(): void {
    const nodes = [...this.#hosts.values()].flatMap((host) => host.node ?? [])
    Invariants.checkLogMatching(nodes)
  }

  /** Gives a message to a member, as if it had come over the network. */
  deliver(message: RaftMessage): void {
    this.#deliver({ kind: 'message', dueTick: 0, message })
  }

  #deliver(parcel: Parcel): void {
    const { to } = parcel.kind === 'message' ? parcel.message : parcel.header
    const host = this.#host(to)
    if (host.node === undefined) return
    if (parcel.kind === 'message') host.node.step(parcel.message)
    else this.#install(host, parcel)
    this.#settle(host)
  }

  #install(host: Host, parcel: Parcel & { kind: 'snapshot' }): void {
    const { header, state } = parcel
    const node = host.node
    if (node === undefined || !node.admits(header)) return
    const verdict = node.judgeSnapshot(header)
    if (verdict === 'receive') {
      host.disk.snapshot = { meta: header.snapshot, state }
      host.state = state
      host.sinceSnapshot = 0
      node.adoptSnapshot(header.snapshot)
      this.installedSnapshots += 1
    }
    node.answerSnapshot(header, verdict !== 'stale')
  }

  #completeWrite(host: Host): void {
    if (host.write === undefined || host.node === undefined) return
    if (host.write.dueTick > this.tickCount || this.stuckDisks.has(host.id)) return
    store(host.disk, host.write.content)
    host.write = undefined
    host.node.written()
    this.#settle(host)
  }

  /** What a driver does after each event, and the checks. */
  #settle(host: Host): void {
    const node = host.node
    if (node === undefined) return
    const ready = node.ready()
    this.invariants.check(node, host.id)
    this.invariants.checkConfiguration(node, host.id)
    this.#checkCommit(node)
    for (const message of ready.messages) this.#send(message)
    if (ready.write !== undefined) {
      const delay = Math.floor(this.random() * (this.faults.writeDelayMax + 1))
      host.write = { content: ready.write, dueTick: this.tickCount + delay }
    }
    for (const read of ready.reads) {
      const floor = host.reads.get(read.token) ?? 0
      assert(read.index >= floor, `a read at ${read.index} misses what was committed at ${floor}`)
      this.confirmedReads += 1
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
    const holders = voters.filter((id) => holds(this.#host(id).disk, { index, term }))
    assert(
      holders.length > voters.length / 2,
      `${index} is committed by ${holders.join()} of ${voters.join()}`,
    )
  }

  #apply(host: Host, node: RaftNode, entry: LogEntry): void {
    this.invariants.applied(host.id, entry)
    host.state = chain(host.state, entry)
    node.applied(entry.index)
    host.sinceSnapshot += 1
  }

  #takeSnapshot(host: Host, node: RaftNode): void {
    const index = node.log.appliedIndex
    const term = node.log.termAt(index) ?? 0
    const members = node.membersAt(index)
    const configurationIndex = node.configurationIndexAt(index)
    const content = { bytes: host.state.length, sha256: host.state }
    const meta = { index, term, members, configurationIndex, ...content }
    host.disk.snapshot = { meta, state: host.state }
    host.sinceSnapshot = 0
    node.compactBehind(meta)
  }

  #send(message: RaftMessage): void {
    if (this.#isLost(message.from, message.to)) return
    const copies = this.random() < this.faults.duplicate ? 2 : 1
    for (let copy = 0; copy < copies; copy += 1) {
      const dueTick = this.tickCount + 1 + Math.floor(this.random() * (this.faults.delayMax + 1))
      this.#parcels.push({ kind: 'message', dueTick, message })
    }
  }

  #sendSnapshot(host: Host, node: RaftNode, peer: string): void {
    const { snapshot } = host.disk
    assert(snapshot !== undefined, 'the log was compacted without a snapshot')
    node.snapshotStarted(peer, snapshot.meta.index)
    if (this.#isLost(host.id, peer)) {
      node.snapshotFailed(peer)
      return
    }
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
    const dueTick = this.tickCount + 1 + Math.floor(this.random() * 8)
    this.#parcels.push({ kind: 'snapshot', dueTick, header, state: snapshot.state })
    // The transport gives up after a while; without effect if the answer came.
    node.snapshotFailed(peer)
  }

  #isLost(from: string, to: string): boolean {
    return this.#cut.has(`${from}>${to}`) || this.random() < this.faults.drop
  }

  #host(id: string): Host {
    const host = this.#hosts.get(id)
    assert(host !== undefined, `there is no ${id}`)
    return host
  }
}

function newHost(id: string): Host {
  const hardState = { term: 0, votedFor: undefined }
  return {
    id,
    disk: { stored: { hardState, base: { index: 0, term: 0 }, entries: [] }, snapshot: undefined },
    life: 0,
    node: undefined,
    write: undefined,
    state: '',
    sinceSnapshot: 0,
    reads: new Map(),
  }
}

function holds(disk: Disk, entry: { index: number; term: number | undefined }): boolean {
  const { base, entries } = disk.stored
  if (entry.index <= Math.max(base.index, disk.snapshot?.meta.index ?? 0)) return true
  return entries[entry.index - base.index - 1]?.term === entry.term
}

/** What LogStore.write promises, on a value. */
function store(disk: Disk, write: LogWrite): void {
  let { base, entries } = disk.stored
  if (write.reset !== undefined) {
    base = write.reset
    entries = []
  }
  if (write.truncateFrom !== undefined)
    entries = entries.slice(0, write.truncateFrom - base.index - 1)
  assert.equal(
    write.entries[0]?.index ?? base.index + entries.length + 1,
    base.index + entries.length + 1,
  )
  entries = [...entries, ...write.entries]
  if (write.compactTo !== undefined) {
    entries = entries.slice(write.compactTo.index - base.index)
    base = write.compactTo
  }
  disk.stored = { hardState: write.hardState ?? disk.stored.hardState, base, entries }
}

function chain(state: string, entry: LogEntry): string {
  const text = `${state}|${entry.index}:${entry.term}:${Buffer.from(entry.data).toString('latin1')}`
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0
  }
  return hash.toString(16)
}
