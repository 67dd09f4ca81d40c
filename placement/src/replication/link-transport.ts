/**
 * raft-ts' transport over links: each member sends on a link that it dials itself, made again when it breaks;
 * snapshots go on links of their own. Members are reached by the address that a message is for, so that they
 * may come and go; who listens there is proved by its id, never by its address. Does not listen itself: its
 * services are added to the port of the process.
 */
import {
  dialLink,
  type Link,
  LinkBrokenError,
  type LinkEvents,
  type LinkHello,
  type LinkIdentity,
  type LinkService,
  raft as wire,
} from '@robust/proto'
import {
  PROTOCOL_VERSION,
  type RaftMember,
  type RaftMessage,
  type SnapshotHeader,
  type Transport,
  type TransportReceiver,
} from 'raft-ts'
import type { Logger } from '../logger.ts'
import { receiveSnapshot, SNAPSHOT_FRAME_BYTES_MAX, SnapshotSending } from './snapshot-transfer.ts'
import { fromWireMessage, type Sender, toWireMessage } from './wire.ts'

export interface LinkTransportOptions {
  readonly clusterId: string
  readonly nodeId: string
  readonly incarnation: string
  /** Those known at the start, this one included. */
  readonly members: readonly RaftMember[]
  readonly log: Logger
}

interface Peer {
  readonly id: string
  readonly address: string
  readonly ending: AbortController
  link: Link | undefined
  redial: NodeJS.Timeout | undefined
  /** Tries in a row that came to nothing. */
  failures: number
  lastSentMs: number
}

const MESSAGES = 'robust.raft.v1.Messages'
const SNAPSHOT = 'robust.raft.v1.Snapshot'
const MESSAGES_KIND = 16
const REDIAL_MS = 100
const CONNECT_MS = 2_000
const FAILURES_LOGGED = 5
const REFUSAL_LOGGED_MS = 10_000
/** The entries of one append may be 512 KiB; more than a few of them are sent as frames of their own. */
const FRAME_BYTES = 1024 * 1024
/** A frame holds at least one message, and a command may be 4 MiB. */
const FRAME_BYTES_MAX = 32 * 1024 * 1024
/** More is not put on a link that does not take it; what is older is stale anyway, and Raft sends it again. */
const UNSENT_BYTES_MAX = 16 * 1024 * 1024
/** One that is no member, and was sent nothing for so long, is forgotten. */
const IDLE_MS = 30_000

export class LinkTransport implements Transport {
  readonly #options: LinkTransportOptions
  readonly #peers = new Map<string, Peer>()
  #members: ReadonlySet<string> = new Set()
  /** Of others, and those that carry snapshots. */
  readonly #links = new Set<Link>()
  readonly #ending = new AbortController()
  #receiver: TransportReceiver | undefined
  #sweeper: NodeJS.Timeout | undefined
  #refusal = { reason: '', sinceMs: 0 }

  constructor(options: LinkTransportOptions) {
    this.#options = options
  }

  /** To be added to the port; they refuse until the transport is started. */
  get services(): readonly LinkService[] {
    const common = {
      protocolVersion: PROTOCOL_VERSION,
      greet: (caller: LinkHello) => this.#greet(caller),
    }
    const open = (link: Link, events: LinkEvents): LinkEvents => this.#tracked(link, events)
    return [
      {
        ...common,
        name: MESSAGES,
        frameBytesMax: FRAME_BYTES_MAX,
        opened: (link) => open(link, this.#readMessages(this.#senderOf(link.peer))),
      },
      {
        ...common,
        name: SNAPSHOT,
        frameBytesMax: SNAPSHOT_FRAME_BYTES_MAX,
        opened: (link) => open(link, this.#readSnapshot(link)),
      },
    ]
  }

  async start(receiver: TransportReceiver): Promise<void> {
    this.#receiver = receiver
    this.#sweeper = setInterval(() => this.#sweep(), IDLE_MS / 3).unref()
    this.follow(this.#options.members)
  }

  /** The members now: links to them are kept up, those to others only while they are used. */
  follow(members: readonly RaftMember[]): void {
    if (this.#receiver === undefined) return
    const others = members.filter(({ id }) => id !== this.#options.nodeId)
    this.#members = new Set(others.map(({ id }) => id))
    // Where a known one is sent to is for the messages to say.
    for (const member of others) if (!this.#peers.has(member.id)) this.#open(member)
  }

  send(to: RaftMember, messages: readonly RaftMessage[]): void {
    const link = this.#peerFor(to)?.link
    if (link === undefined) return
    for (const batch of sliceByBytes(messages)) {
      if (link.unsentBytes > UNSENT_BYTES_MAX) return
      const frame = { messages: batch.map(toWireMessage) }
      link.send(MESSAGES_KIND, wire.RaftFrame.encode(frame).finish())
    }
  }

  async sendSnapshot(
    to: RaftMember,
    header: SnapshotHeader,
    chunks: AsyncIterable<Uint8Array>,
  ): Promise<RaftMessage> {
    const { signal } = this.#ending
    const sending = new SnapshotSending()
    const options = this.#dialOptions(to, SNAPSHOT)
    const link = await dialLink(
      { ...options, frameBytesMax: SNAPSHOT_FRAME_BYTES_MAX, signal },
      (open) => this.#tracked(open, sending.events(open, this.#senderOf(open.peer))),
    )
    return await sending.run(link, header, chunks)
  }

  async stop(): Promise<void> {
    this.#receiver = undefined
    clearInterval(this.#sweeper)
    this.#ending.abort()
    for (const peer of [...this.#peers.values()]) this.#drop(peer)
    for (const link of [...this.#links]) link.destroy('this member stops')
  }

  /** Undefined when this member does not run. */
  #peerFor(member: RaftMember): Peer | undefined {
    if (this.#receiver === undefined) return undefined
    let peer = this.#peers.get(member.id)
    if (peer !== undefined && peer.address !== member.address) {
      this.#drop(peer)
      peer = undefined
    }
    peer ??= this.#open(member)
    peer.lastSentMs = performance.now()
    return peer
  }

  #open({ id, address }: RaftMember): Peer {
    const common = { link: undefined, redial: undefined, failures: 0 }
    const lastSentMs = performance.now()
    const peer: Peer = { ...common, id, address, ending: new AbortController(), lastSentMs }
    this.#peers.set(id, peer)
    void this.#dial(peer)
    return peer
  }

  #drop(peer: Peer): void {
    if (this.#peers.get(peer.id) === peer) this.#peers.delete(peer.id)
    clearTimeout(peer.redial)
    peer.ending.abort()
    peer.link?.destroy('not needed any more')
  }

  #sweep(): void {
    const nowMs = performance.now()
    for (const peer of [...this.#peers.values()]) {
      if (!this.#members.has(peer.id) && nowMs - peer.lastSentMs > IDLE_MS) this.#drop(peer)
    }
  }

  #identityFor(to: string): LinkIdentity {
    const { clusterId, nodeId, incarnation, members } = this.#options
    const address = members.find((member) => member.id === nodeId)?.address ?? ''
    const detail = wire.Greeting.encode({ to, address }).finish()
    return { clusterId, senderId: nodeId, incarnation, detail }
  }

  #dialOptions({ id, address }: RaftMember, service: string) {
    const identity = this.#identityFor(id)
    // A turn of raft-ts sends everything that it has at once.
    const writesAfter = 'callback' as const
    const common = { protocolVersion: PROTOCOL_VERSION, connectMs: CONNECT_MS, writesAfter }
    return { ...common, address, service, identity, expectedId: id }
  }

  async #dial(peer: Peer): Promise<void> {
    const { signal } = peer.ending
    const again = (error: Error): void => {
      peer.link = undefined
      if (signal.aborted) return
      this.#missed(peer, error)
      peer.redial = setTimeout(() => void this.#dial(peer), REDIAL_MS)
    }
    try {
      const options = { ...this.#dialOptions(peer, MESSAGES), frameBytesMax: FRAME_BYTES_MAX }
      const link = await dialLink({ ...options, signal }, () => ({
        frame: () => undefined,
        closed: (error) => again(error ?? new LinkBrokenError('it ended the link')),
      }))
      if (signal.aborted) {
        link.destroy('not needed any more')
        return
      }
      peer.link = link
      this.#reached(peer)
    } catch (error) {
      again(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #tracked(link: Link, events: LinkEvents): LinkEvents {
    this.#links.add(link)
    return {
      ...events,
      closed: (error) => {
        this.#links.delete(link)
        events.closed(error)
      },
    }
  }

  /** Whether the sender is a member is for the core to judge: this one may not have heard of it yet. */
  #greet(caller: LinkHello): LinkIdentity | string {
    const { clusterId, nodeId } = this.#options
    if (this.#receiver === undefined) return 'this member does not run'
    const { to } = wire.Greeting.decode(caller.detail)
    const from = caller.senderId
    let refused: string | undefined
    if (caller.clusterId !== clusterId) {
      refused = `this member is of cluster ${clusterId}, not of ${caller.clusterId}`
    } else if (to !== nodeId) refused = `this member is ${nodeId}, not ${to}`
    else if (from === '' || from === nodeId) refused = `a link comes from ${from || 'nobody'}`
    if (refused === undefined) return this.#identityFor(from)
    this.#logRefusal(from, refused)
    return refused
  }

  /** They try again all the time; each reason is told once in a while. */
  #logRefusal(from: string, reason: string): void {
    const nowMs = performance.now()
    const { reason: before, sinceMs } = this.#refusal
    if (reason === before && nowMs - sinceMs < REFUSAL_LOGGED_MS) return
    this.#refusal = { reason, sinceMs: nowMs }
    this.#options.log.warn({ from, reason }, 'a peer is refused')
  }

  #senderOf({ clusterId, senderId, incarnation, protocolVersion, detail }: LinkHello): Sender {
    const { address } = wire.Greeting.decode(detail)
    const to = this.#options.nodeId
    return { protocolVersion, clusterId, from: senderId, to, incarnation, address }
  }

  #readMessages(sender: Sender): LinkEvents {
    return {
      frame: (_kind, payload) => {
        for (const message of wire.RaftFrame.decode(payload).messages) {
          const known = fromWireMessage(sender, message)
          if (known === undefined) throw new Error('a message of an unknown kind')
          this.#receiver?.message(known)
        }
      },
      closed: () => undefined,
    }
  }

  #readSnapshot(link: Link): LinkEvents {
    const receiver = this.#receiver
    if (receiver !== undefined) return receiveSnapshot(link, this.#senderOf(link.peer), receiver)
    link.destroy('this member stops')
    return { frame: () => undefined, closed: () => undefined }
  }

  /** Once for each time that a peer stays away; members that start together miss each other at first. */
  #missed(peer: Peer, error: Error): void {
    peer.failures += 1
    if (peer.failures !== FAILURES_LOGGED) return
    const fields = { errId: 'MEMBER_UNREACHABLE', peer: peer.id, reason: error.message }
    this.#options.log.warn(fields, `Placement Center node ${peer.id} cannot be reached`)
  }

  #reached(peer: Peer): void {
    if (peer.failures >= FAILURES_LOGGED) {
      this.#options.log.info({ peer: peer.id }, `Placement Center node ${peer.id} is back`)
    }
    peer.failures = 0
  }
}

/** In order, each slice small enough for one frame or a single message. */
export function sliceByBytes(messages: readonly RaftMessage[]): readonly RaftMessage[][] {
  const slices: RaftMessage[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const message of messages) {
    const more = toBytes(message)
    if (bytes + more > FRAME_BYTES) {
      slices.push([])
      bytes = 0
    }
    slices.at(-1)?.push(message)
    bytes += more
  }
  return slices
}

function toBytes(message: RaftMessage): number {
  if (message.kind !== 'append-request') return 64
  return message.entries.reduce((sum, entry) => sum + entry.data.byteLength + 32, 64)
}
