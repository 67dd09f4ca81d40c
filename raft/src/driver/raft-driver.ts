/**
 * Makes the core real: one mailbox, one turn at a time; persist, then send, then apply.
 * Everything that touches the core runs inside a turn, synchronously; what was awaited comes back through
 * the mailbox and finds the role and term of that moment. A failed write ends the member at once.
 */
import { asError } from '../abortable.ts'
import type { MembershipChange } from '../core/membership.ts'
import type { RaftMessage, SnapshotMeta } from '../core/messages.ts'
import type { RaftNode } from '../core/node.ts'
import {
  CommandTooLargeError,
  LeadershipLostError,
  LeadershipTransferFailedError,
  LeadershipTransferringError,
  MembershipChangeRefusedError,
  NotLeaderError,
  OverloadedError,
  StoppedError,
} from '../errors.ts'
import type { LogWrite } from '../ports/log-store.ts'
import type {
  ProposalResult,
  Raft,
  RaftEvent,
  RaftMetric,
  RaftOptions,
  RaftStatus,
} from '../raft.ts'
import { Applier } from './applying.ts'
import { Changes, Observers } from './events.ts'
import { Mailbox, type Task } from './mailbox.ts'
import { collectMetrics, type Histogram, newTimes } from './metrics.ts'
import {
  PendingChange,
  PendingProposals,
  PendingReads,
  PendingTransfer,
  type Waiter,
  type Watch,
} from './pending.ts'
import { Snapshots } from './snapshots.ts'
import { checkOptions, openMember, type Settings } from './startup.ts'
import { ContactTimes, describeStatus } from './status.ts'

type Leading = Pick<RaftStatus, 'role' | 'term' | 'leaderId'>

type Phase = 'new' | 'starting' | 'running' | 'stopping' | 'stopped' | 'failed'

interface Member {
  readonly node: RaftNode
  readonly snapshots: Snapshots
  readonly applier: Applier
  readonly changes: Changes
}

/** After a pause of the process only so many ticks are made up for, so that waiting messages are seen first. */
const CATCH_UP_TICKS = 10

export function createRaft(options: RaftOptions): Raft {
  return new RaftDriver(options)
}

class RaftDriver implements Raft {
  readonly #options: RaftOptions
  readonly #settings: Settings
  readonly #observers: Observers
  readonly #times = newTimes()
  readonly #proposals = new PendingProposals(this.#watch(this.#times.commit))
  readonly #reads = new PendingReads(this.#watch(this.#times.read))
  readonly #change = new PendingChange()
  readonly #transfer = new PendingTransfer()
  readonly #contacts = new ContactTimes()
  #phase: Phase = 'new'
  #member: Member | undefined
  readonly #mailbox = new Mailbox()
  #isTurnScheduled = false
  #ticker: { stop(): void } | undefined
  #lastTickMs = 0
  #writing: Promise<void> = Promise.resolve()
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined
  readonly #counters = {
    messagesReceived: 0,
    messagesSent: 0,
    writes: 0,
    entriesWritten: 0,
    applied: 0,
  }

  constructor(options: RaftOptions) {
    this.#options = options
    this.#settings = checkOptions(options)
    this.#observers = new Observers(options.logger)
  }

  start(): Promise<void> {
    if (this.#phase !== 'new') {
      return Promise.reject(new StoppedError(`start is called when ${this.#phase}`))
    }
    this.#phase = 'starting'
    this.#starting = this.#start()
    return this.#starting
  }

  async #start(): Promise<void> {
    const { clock, transport } = this.#options
    try {
      const { node, snapshot } = await openMember(this.#options, this.#settings)
      const snapshots = this.#compose(node, snapshot)
      this.#phase = 'running'
      await transport.start({
        message: (message) => this.#receive(message),
        snapshot: (header, chunks) => snapshots.receive(header, chunks),
      })
    } catch (error) {
      this.#phase = 'stopped'
      this.#mailbox.dropAll()
      await this.#options.logStore.close()
      throw error
    }
    if (this.#phase !== 'running') return
    const { tickMs } = this.#settings.timings
    // The only voter waits for nobody, and so not for the clock.
    this.#lastTickMs = clock.nowMs() - (this.#node.voters.length === 1 ? tickMs : 0)
    this.#ticker = clock.every(tickMs, () => this.#tick())
    this.#tick()
    this.#schedule()
  }

  #compose(node: RaftNode, snapshot: SnapshotMeta | undefined): Snapshots {
    const { stateMachine, clock } = this.#options
    const applier = new Applier({
      node,
      stateMachine,
      clock,
      applied: (outcome) => this.#proposals.applied(outcome),
      progressed: (entries, bytes) => {
        this.#counters.applied += entries
        snapshots.noteApplied(entries, bytes)
      },
    })
    const host = {
      options: this.#options,
      node,
      run: <T>(task: () => T) => this.#run(task),
      fail: (error: unknown) => this.#fail(error),
      isRunning: () => this.#phase === 'running',
      emit: (event: RaftEvent) => this.#observers.emit(event),
      restored: () => applier.restored(),
    }
    const snapshots: Snapshots = new Snapshots(host, snapshot)
    this.#member = { node, snapshots, applier, changes: new Changes(node) }
    return snapshots
  }

  #watch(histogram: Histogram): Watch {
    return {
      nowMs: () => this.#options.clock.nowMs(),
      took: (ms) => histogram.observe(ms),
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    await this.#starting?.catch(() => undefined)
    const wasStarted = this.#phase === 'running' || this.#phase === 'failed'
    this.#phase = 'stopping'
    this.#ticker?.stop()
    this.#mailbox.dropAll()
    this.#failPending('the member was stopped')
    if (wasStarted) {
      await this.#options.transport.stop()
      await this.#member?.snapshots.stop()
      await this.#writing
      await this.#options.logStore.close()
    }
    this.#phase = 'stopped'
  }

  propose(command: Uint8Array): Promise<ProposalResult> {
    const bytesMax = this.#settings.limits.commandBytesMax
    if (command.byteLength > bytesMax) {
      return Promise.reject(new CommandTooLargeError({ bytes: command.byteLength, bytesMax }))
    }
    // The caller keeps its buffer.
    const copy = new Uint8Array(command)
    return new Promise((resolve, reject) => {
      this.#post({ run: () => this.#propose(copy, { resolve, reject }), drop: reject })
    })
  }

  #propose(command: Uint8Array, waiter: Waiter<ProposalResult>): void {
    const outcome = this.#node.propose(command)
    switch (outcome.kind) {
      case 'appended':
        this.#proposals.add(outcome, waiter)
        break
      case 'not-leader':
        waiter.reject(this.#notLeader())
        break
      case 'overloaded':
        waiter.reject(new OverloadedError(outcome.uncommittedBytes))
        break
      case 'transferring':
        waiter.reject(new LeadershipTransferringError(outcome.to))
        break
      default:
        outcome satisfies never
    }
  }

  readIndex(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#post({ run: () => this.#readIndex({ resolve, reject }), drop: reject })
    })
  }

  #readIndex(waiter: Waiter<number>): void {
    const node = this.#node
    if (node.role !== 'leader') {
      waiter.reject(this.#notLeader())
    } else if (this.#reads.size >= this.#settings.limits.pendingReadsMax) {
      waiter.reject(new OverloadedError(0))
    } else {
      node.readIndex(this.#reads.add(node.term, waiter))
    }
  }

  changeMembership(change: MembershipChange): Promise<{ readonly index: number }> {
    return new Promise((resolve, reject) => {
      const run = (): void => this.#changeMembership(change, { resolve, reject })
      this.#post({ run, drop: reject })
    })
  }

  #changeMembership(change: MembershipChange, waiter: Waiter<{ index: number }>): void {
    const outcome = this.#node.changeMembership(change)
    if (outcome.kind === 'appended') this.#change.add(outcome, waiter)
    else if (outcome.kind === 'not-leader') waiter.reject(this.#notLeader())
    else waiter.reject(new MembershipChangeRefusedError(outcome.reason))
  }

  transferLeadership(to?: string, timeoutMs?: number): Promise<void> {
    const { tickMs, electionMaxMs } = this.#settings.timings
    const ticks = Math.max(1, Math.ceil((timeoutMs ?? electionMaxMs) / tickMs))
    return new Promise((resolve, reject) => {
      const run = (): void => {
        const outcome = this.#node.transferLeadership(to, ticks)
        if (outcome.kind === 'started') this.#transfer.add(outcome, { resolve, reject })
        else if (outcome.kind === 'not-leader') reject(this.#notLeader())
        else reject(new LeadershipTransferFailedError(outcome.reason))
      }
      this.#post({ run, drop: reject })
    })
  }

  async takeSnapshot(): Promise<{ readonly index: number; readonly bytes: number }> {
    const { index, bytes } = (await this.#running.snapshots.takeNow()) ?? { index: 0, bytes: 0 }
    return { index, bytes }
  }

  observe(listener: (event: RaftEvent) => void): () => void {
    return this.#observers.observe(listener)
  }

  status(): RaftStatus {
    const { nodeId, members, clock } = this.#options
    const metrics = { ...this.#counters, ...this.#member?.snapshots.counters }
    return describeStatus({
      nodeId,
      members,
      metrics,
      nowMs: clock.nowMs(),
      node: this.#member?.node,
      snapshotIndex: this.#member?.snapshots.newestIndex ?? 0,
      contacts: this.#contacts,
    })
  }

  metrics(): readonly RaftMetric[] {
    return collectMetrics(this.status(), this.#times)
  }

  get #running(): Member {
    if (this.#member === undefined) throw new StoppedError('the member is not started')
    return this.#member
  }

  get #node(): RaftNode {
    return this.#running.node
  }

  #receive(message: RaftMessage): void {
    this.#counters.messagesReceived += 1
    const receivedMs = this.#options.clock.nowMs()
    this.#post({
      run: () => {
        this.#contacts.received(message.from, receivedMs)
        this.#node.step(message)
      },
      drop: () => undefined,
    })
  }

  #tick(): void {
    const { tickMs } = this.#settings.timings
    const nowMs = this.#options.clock.nowMs()
    const elapsed = Math.floor((nowMs - this.#lastTickMs) / tickMs)
    if (elapsed <= 0) return
    const ticks = Math.min(elapsed, CATCH_UP_TICKS)
    this.#lastTickMs = elapsed > ticks ? nowMs : this.#lastTickMs + ticks * tickMs
    this.#post({
      run: () => {
        for (let tick = 0; tick < ticks; tick += 1) this.#node.tick()
        this.#noticeSilence()
      },
      drop: () => undefined,
    })
  }

  #run<T>(task: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#post({ run: () => resolve(task()), drop: reject })
    })
  }

  #post(task: Task): void {
    if (this.#phase !== 'running') {
      task.drop(new StoppedError(`the member is ${this.#phase}`))
      return
    }
    this.#mailbox.post(task)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isTurnScheduled || this.#phase !== 'running') return
    this.#isTurnScheduled = true
    // After the reads of this round of the event loop, so that what came together is one batch.
    setImmediate(() => {
      this.#isTurnScheduled = false
      this.#turn()
    })
  }

  #turn(): void {
    if (this.#phase !== 'running') return
    const tasks = this.#mailbox.take()
    try {
      for (const [done, task] of tasks.entries()) {
        if (this.#phase !== 'running') {
          for (const rest of tasks.slice(done)) rest.drop(new StoppedError('the member stops'))
          return
        }
        task.run()
        this.#noticeChange()
      }
      this.#advance()
    } catch (error) {
      this.#fail(error)
      for (const task of tasks) task.drop(new StoppedError('the member failed'))
    }
  }

  /** Carries out what the core wants; the order matters: messages that wait for a write are not in it. */
  #advance(): void {
    const { node, snapshots, applier } = this.#running
    const ready = node.ready()
    this.#sendAll(ready.messages)
    if (ready.write !== undefined) this.#startWrite(ready.write)
    for (const read of ready.reads) this.#reads.confirmed(read)
    for (const found of ready.deviations) {
      this.#options.logger?.error('the state of a member deviates', { ...found })
      this.#observers.emit({ kind: 'state-deviation', ...found })
    }
    snapshots.send(ready.snapshotPeers)
    const isMoreLeft = applier.applyCommitted()
    this.#reads.appliedTo(node.log.appliedIndex)
    snapshots.takeIfDue(this.#settings.limits)
    if (isMoreLeft) this.#schedule()
  }

  #sendAll(messages: readonly RaftMessage[]): void {
    const { rounds } = this.#node
    if (rounds !== undefined) {
      this.#contacts.roundSent(rounds.sent, this.#options.clock.nowMs(), rounds.acknowledged)
    }
    if (messages.length === 0) return
    const byPeer = new Map<string, RaftMessage[]>()
    for (const message of messages) {
      if (message.kind === 'snapshot-response') {
        this.#member?.snapshots.answered(message)
        continue
      }
      const batch = byPeer.get(message.to)
      if (batch === undefined) byPeer.set(message.to, [message])
      else batch.push(message)
    }
    for (const [peer, batch] of byPeer) {
      const member = this.#node.addressOf(peer)
      if (member === undefined) continue
      this.#counters.messagesSent += batch.length
      this.#options.transport.send(member, batch)
    }
  }

  #startWrite(write: LogWrite): void {
    this.#counters.writes += 1
    this.#counters.entriesWritten += write.entries.length
    const { clock, logStore } = this.#options
    const startMs = clock.nowMs()
    this.#writing = logStore.write(write).then(
      () => {
        this.#times.write.observe(clock.nowMs() - startMs)
        this.#post({ run: () => this.#node.written(), drop: () => undefined })
      },
      (error: unknown) => this.#fail(error),
    )
  }

  /** After every task: what belongs to a leadership that ended fails before anything else happens. */
  #noticeChange(): void {
    const { node, changes } = this.#running
    this.#change.settle(node)
    this.#transfer.settle(node)
    this.#emitIfAny(changes.configuration(node))
    const change = changes.leadership(node)
    if (change !== undefined) this.#changeLeadership(change.before, change.after)
  }

  #changeLeadership(before: Leading, { role, term, leaderId }: Leading): void {
    const leadingTerm = role === 'leader' ? term : undefined
    this.#proposals.keepOnly(leadingTerm)
    this.#reads.keepOnly(leadingTerm, () => this.#notLeader())
    if (term !== before.term || role !== before.role) this.#contacts.forgetRounds()
    if (term !== before.term) {
      this.#member?.snapshots.termChanged(term)
      this.#observers.emit({ kind: 'term', term })
    }
    if (role !== before.role) {
      this.#options.logger?.info('the role changed', { role, term })
      this.#observers.emit({ kind: 'role', role, term })
    }
    if (leaderId !== before.leaderId) {
      const leaderAddress = this.#addressOf(leaderId)
      this.#observers.emit({ kind: 'leader', term, leaderId, leaderAddress })
    }
  }

  /** With each tick: a disk that takes long, and the peers that this leader does not hear of. */
  #noticeSilence(): void {
    const { node, changes } = this.#running
    const { electionMin } = this.#settings.ticks
    this.#emitIfAny(changes.storage(node.isStorageStalled))
    for (const { id, lastActiveTick } of node.progress) {
      this.#emitIfAny(changes.peer(id, node.now - lastActiveTick <= electionMin))
    }
  }

  #emitIfAny(event: RaftEvent | undefined): void {
    if (event !== undefined) this.#observers.emit(event)
  }

  #notLeader(): NotLeaderError {
    const { leaderId } = this.#node
    if (leaderId === undefined || leaderId === this.#options.nodeId) return new NotLeaderError()
    return new NotLeaderError({ id: leaderId, address: this.#addressOf(leaderId) })
  }

  #addressOf(id: string | undefined): string | undefined {
    return id === undefined ? undefined : this.#node.addressOf(id)?.address
  }

  #fail(cause: unknown): void {
    if (this.#phase !== 'running') return
    this.#phase = 'failed'
    const error = asError(cause)
    this.#ticker?.stop()
    this.#mailbox.dropAll()
    this.#failPending('the member failed', error)
    this.#options.logger?.error('the member failed and does nothing more', { error })
    const transportStopped = this.#options.transport.stop()
    transportStopped.catch((stopError: unknown) => {
      this.#options.logger?.warn('the transport did not stop', { error: stopError })
    })
    this.#observers.emit({ kind: 'fatal', error })
    this.#options.onFatal(error)
  }

  #failPending(reason: string, cause?: Error): void {
    this.#proposals.failAll(reason, cause)
    this.#reads.failAll(new StoppedError(reason, { cause }))
    this.#change.fail(new LeadershipLostError(reason, { cause }))
    this.#transfer.fail(new StoppedError(reason, { cause }))
  }
}
