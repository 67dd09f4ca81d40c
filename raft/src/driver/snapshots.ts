/**
 * Snapshots around the core: take one, send one to a follower, take one over from a leader.
 * Their bytes move outside the mailbox; every decision is made inside it, on the state of that moment.
 */

import { abortable } from '../abortable.ts'
import type { RaftMessage, SnapshotHeader, SnapshotMeta } from '../core/messages.ts'
import { PROTOCOL_VERSION } from '../core/messages.ts'
import type { RaftNode } from '../core/node.ts'
import type { SnapshotVerdict } from '../core/snapshot.ts'
import { SnapshotDamagedError, StoppedError } from '../errors.ts'
import type { SnapshotPosition } from '../ports/snapshot-store.ts'
import type { RaftEvent, RaftOptions } from '../raft.ts'
import { prepareRestore, readWhole } from './startup.ts'

/** One before the newest stays, for a transfer that is under way. */
const SNAPSHOTS_KEPT = 2

/** What the driver lends. */
export interface SnapshotHost {
  readonly options: RaftOptions
  readonly node: RaftNode
  /** Runs inside the mailbox; rejects with StoppedError when the member does not run any more. */
  run<T>(task: () => T): Promise<T>
  /** Stops the member for good. */
  fail(error: unknown): void
  isRunning(): boolean
  emit(event: RaftEvent): void
  /** The state machine was replaced. */
  restored(): void
}

export interface SnapshotCounters {
  snapshotsTaken: number
  snapshotsSent: number
  snapshotSendFailures: number
  snapshotsInstalled: number
  snapshotsRefused: number
}

interface AwaitedAnswer {
  readonly term: number
  resolve(message: RaftMessage): void
  reject(error: Error): void
}

export class Snapshots {
  readonly #host: SnapshotHost
  readonly counters: SnapshotCounters = {
    snapshotsTaken: 0,
    snapshotsSent: 0,
    snapshotSendFailures: 0,
    snapshotsInstalled: 0,
    snapshotsRefused: 0,
  }
  #newest: SnapshotMeta | undefined
  #taking: Promise<void> | undefined
  readonly #sending = new Map<string, Promise<void>>()
  /** The running installation and how to end it; a newer one takes its place. */
  #installing: { readonly abort: AbortController; readonly done: Promise<unknown> } | undefined
  readonly #answers = new Map<string, AwaitedAnswer>()
  #appliedSince = { entries: 0, bytes: 0 }

  constructor(host: SnapshotHost, newest: SnapshotMeta | undefined) {
    this.#host = host
    this.#newest = newest
  }

  get newestIndex(): number {
    return this.#newest?.index ?? 0
  }

  /** Call inside the mailbox after each slice that was applied. */
  noteApplied(count: number, bytes: number): void {
    this.#appliedSince.entries += count
    this.#appliedSince.bytes += bytes
  }

  /** Call inside the mailbox, with the state machine at the applied index. */
  takeIfDue(limits: { readonly snapshotEntries: number; readonly snapshotBytes: number }): void {
    const { entries, bytes } = this.#appliedSince
    if (this.#taking !== undefined || this.#installing !== undefined || entries === 0) return
    // A large state is not written again for a few entries: at most as much as they are, twice over.
    const areMany = entries >= limits.snapshotEntries && bytes >= (this.#newest?.bytes ?? 0)
    if (!areMany && bytes < limits.snapshotBytes) return
    this.#begin()
  }

  /** One of everything that is applied now; the newest one if that is it. Undefined: nothing is applied. */
  async takeNow(): Promise<SnapshotMeta | undefined> {
    let isAsked = false
    for (;;) {
      // One that runs may be older than the call.
      await this.#taking
      await this.#installing?.done.catch(() => undefined)
      const isThere = await this.#host.run(() => {
        if (this.#taking !== undefined || this.#installing !== undefined) return false
        if (isAsked || this.newestIndex >= this.#host.node.log.appliedIndex) return true
        isAsked = true
        this.#begin()
        return false
      })
      if (isThere) return this.#newest
    }
  }

  #begin(): void {
    const { node, options } = this.#host
    const index = node.log.appliedIndex
    const position = {
      index,
      term: node.log.termAt(index) ?? 0,
      members: node.membersAt(index),
      configurationIndex: node.configurationIndexAt(index),
    }
    this.#appliedSince = { entries: 0, bytes: 0 }
    // Frozen now; read and written later.
    const content = options.stateMachine.snapshot()
    const chunks = content instanceof Uint8Array ? once(content) : content
    this.#taking = this.#take(position, chunks)
      .catch((error: unknown) => {
        if (!(error instanceof StoppedError)) this.#host.fail(error)
      })
      .finally(() => {
        this.#taking = undefined
      })
  }

  async #take(position: SnapshotPosition, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { options } = this.#host
    const meta = await options.snapshotStore.create(position, this.#whileRunning(chunks))
    await this.#host.run(() => {
      if (meta.index <= this.newestIndex) return
      this.#newest = meta
      this.counters.snapshotsTaken += 1
      this.#host.node.compactBehind(meta)
      this.#host.emit({ kind: 'snapshot-taken', index: meta.index, bytes: meta.bytes })
    })
    await options.snapshotStore.retain(SNAPSHOTS_KEPT)
  }

  async *#whileRunning(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      if (!this.#host.isRunning()) throw new StoppedError('the member stops')
      yield chunk
    }
  }

  /** Call inside the mailbox for the peers that the core names. */
  send(peers: readonly string[]): void {
    for (const peer of peers) {
      const meta = this.#newest
      const member = this.#host.node.addressOf(peer)
      if (meta === undefined || member === undefined || this.#sending.has(peer)) continue
      this.#host.node.snapshotStarted(peer, meta.index)
      const header = this.#headerFor(peer, meta)
      const { transport, snapshotStore, logger } = this.#host.options
      const sending = transport
        .sendSnapshot(member, header, snapshotStore.read(meta))
        .then((answer) => this.#host.run(() => this.#takeAnswer(peer, answer)))
        .catch((error: unknown) => {
          logger?.warn('a snapshot could not be sent', { peer, index: meta.index, error })
          this.counters.snapshotSendFailures += 1
          return this.#host.run(() => this.#host.node.snapshotFailed(peer)).catch(() => undefined)
        })
        .finally(() => this.#sending.delete(peer))
      this.#sending.set(peer, sending)
    }
  }

  #headerFor(peer: string, snapshot: SnapshotMeta): SnapshotHeader {
    const { options, node } = this.#host
    return {
      protocolVersion: PROTOCOL_VERSION,
      clusterId: options.clusterId,
      from: options.nodeId,
      to: peer,
      incarnation: options.incarnation,
      address: node.addressOf(options.nodeId)?.address ?? '',
      term: node.term,
      snapshot,
    }
  }

  #takeAnswer(peer: string, answer: RaftMessage): void {
    this.counters.snapshotsSent += 1
    if (answer.from === peer && answer.kind === 'snapshot-response') this.#host.node.step(answer)
    // Changes nothing when the answer moved the peer on.
    this.#host.node.snapshotFailed(peer)
  }

  /** A leader offers a snapshot: TransportReceiver.snapshot. */
  async receive(header: SnapshotHeader, chunks: AsyncIterable<Uint8Array>): Promise<RaftMessage> {
    const { node } = this.#host
    const verdict = await this.#host.run(() =>
      node.admits(header) ? node.judgeSnapshot(header) : 'foreign',
    )
    if (verdict === 'foreign') throw new Error('the snapshot is not from a member of this cluster')
    if (verdict !== 'receive') return this.#answer(header, verdict)
    const previous = this.#installing
    previous?.abort.abort(new Error('another snapshot is offered'))
    const abort = new AbortController()
    const installation = (previous?.done ?? Promise.resolve())
      .catch(() => undefined)
      .then(() => this.#install(header, abortable(chunks, abort.signal)))
    const current = { abort, done: installation }
    this.#installing = current
    try {
      return await installation
    } finally {
      if (this.#installing === current) this.#installing = undefined
    }
  }

  /** File durable, bytes verified, state restored: only then does the log take the index over. */
  async #install(header: SnapshotHeader, chunks: AsyncIterable<Uint8Array>): Promise<RaftMessage> {
    const { options } = this.#host
    const stream = noticeFailure(chunks)
    let content: Uint8Array
    try {
      await options.snapshotStore.create(header.snapshot, stream.chunks, header.snapshot)
      content = await readWhole(options.snapshotStore.read(header.snapshot))
    } catch (error) {
      this.counters.snapshotsRefused += 1
      // A broken stream or wrong bytes are the sender's; anything else is this member's disk.
      if (!stream.hasFailed() && !(error instanceof SnapshotDamagedError)) this.#host.fail(error)
      throw error
    }
    const restore = await prepareRestore(options.stateMachine, content).catch((error: unknown) => {
      this.#host.fail(error)
      throw error
    })
    const verdict = await this.#host.run(() => this.#adopt(header, restore))
    const answer = await this.#answer(header, verdict)
    await options.snapshotStore.retain(SNAPSHOTS_KEPT)
    return answer
  }

  #adopt(header: SnapshotHeader, restore: () => void): SnapshotVerdict {
    const { node } = this.#host
    const verdict = node.judgeSnapshot(header)
    if (verdict !== 'receive') return verdict
    restore()
    this.#host.restored()
    node.adoptSnapshot(header.snapshot)
    this.#newest = header.snapshot
    this.#appliedSince = { entries: 0, bytes: 0 }
    this.counters.snapshotsInstalled += 1
    const { index } = header.snapshot
    this.#host.emit({ kind: 'snapshot-installed', index, from: header.from })
    return 'have'
  }

  /** The core's answer, which leaves it when what it says is durable. */
  #answer(header: SnapshotHeader, verdict: SnapshotVerdict): Promise<RaftMessage> {
    return new Promise((resolve, reject) => {
      this.#host
        .run(() => {
          this.#answers.get(header.from)?.reject(new Error('another snapshot is answered'))
          this.#answers.set(header.from, { term: this.#host.node.term, resolve, reject })
          this.#host.node.answerSnapshot(header, verdict === 'have')
        })
        .catch(reject)
    })
  }

  /** Call for each snapshot-response that the core sends. */
  answered(message: RaftMessage): void {
    const awaited = this.#answers.get(message.to)
    this.#answers.delete(message.to)
    awaited?.resolve(message)
  }

  /** Call inside the mailbox when the term has changed: answers of an older one never come. */
  termChanged(term: number): void {
    for (const [peer, awaited] of this.#answers) {
      if (awaited.term === term) continue
      this.#answers.delete(peer)
      awaited.reject(new Error('the term changed'))
    }
  }

  /** Ends what runs; the transport must be stopped already. */
  async stop(): Promise<void> {
    for (const awaited of this.#answers.values()) awaited.reject(new StoppedError('stopped'))
    this.#answers.clear()
    this.#installing?.abort.abort(new StoppedError('the member stops'))
    await this.#installing?.done.catch(() => undefined)
    await this.#taking
    await Promise.all(this.#sending.values())
  }
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content
}

function noticeFailure(chunks: AsyncIterable<Uint8Array>): {
  readonly chunks: AsyncIterable<Uint8Array>
  hasFailed(): boolean
} {
  let failed = false
  async function* watched(): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks
    } catch (error) {
      failed = true
      throw error
    }
  }
  return { chunks: watched(), hasFailed: () => failed }
}
