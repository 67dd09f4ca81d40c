/**
 * raft-ts' transport over gRPC: each member sends on a stream that it dials itself, made again when it
 * breaks; snapshots go on streams of their own. Members are reached by the address that a message is for, so
 * that they may come and go; who listens there is proved by its id, never by its address. Does not listen
 * itself: its service is added to the server of the process.
 */
import { credentials, type ServerDuplexStream, status } from '@grpc/grpc-js'
import { raft as wire } from '@robust/proto'
import {
  PROTOCOL_VERSION,
  type RaftMember,
  type RaftMessage,
  type SnapshotHeader,
  type Transport,
  type TransportReceiver,
} from 'raft-ts'
import { CLIENT_OPTIONS } from '../grpc-settings.ts'
import type { Logger } from '../logger.ts'
import { type FrameStream, PeerStream } from './peer-stream.ts'
import { receiveSnapshot, sendSnapshot } from './snapshot-transfer.ts'
import { fromWireMessage, toWireMessage } from './wire.ts'

export interface GrpcTransportOptions {
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
  readonly client: wire.RaftTransportClient
  stream: PeerStream | undefined
  redial: NodeJS.Timeout | undefined
  /** Tries in a row that came to nothing. */
  failures: number
  lastSentMs: number
}

const REDIAL_MS = 100
const FAILURES_LOGGED = 5
/** The entries of one append may be 512 KiB; more than a few of them are sent as frames of their own. */
const FRAME_BYTES_MAX = 1024 * 1024
/** One that is no member, and was sent nothing for so long, is forgotten. */
const IDLE_MS = 30_000

export class GrpcTransport implements Transport {
  readonly #options: GrpcTransportOptions
  readonly #peers = new Map<string, Peer>()
  #members: ReadonlySet<string> = new Set()
  readonly #accepted = new Set<PeerStream>()
  readonly #snapshotCalls = new Set<{ cancel(): void }>()
  #receiver: TransportReceiver | undefined
  #sweeper: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: GrpcTransportOptions) {
    this.#options = options
  }

  /** To be added to the gRPC server; refuses until the transport is started. */
  get service(): wire.RaftTransportServer {
    return {
      exchange: (stream) => this.#accept(stream),
      installSnapshot: (call, done) => {
        void receiveSnapshot(call, done, (header) => this.#acceptSnapshot(call, header))
      },
    }
  }

  async start(receiver: TransportReceiver): Promise<void> {
    this.#receiver = receiver
    this.#sweeper = setInterval(() => this.#sweep(), IDLE_MS / 3).unref()
    this.follow(this.#options.members)
  }

  /** The members now: connections to them are kept up, those to others only while they are used. */
  follow(members: readonly RaftMember[]): void {
    if (this.#receiver === undefined) return
    const others = members.filter(({ id }) => id !== this.#options.nodeId)
    this.#members = new Set(others.map(({ id }) => id))
    // Where a known one is sent to is for the messages to say.
    for (const member of others) if (!this.#peers.has(member.id)) this.#open(member)
  }

  send(to: RaftMember, messages: readonly RaftMessage[]): void {
    const stream = this.#peerFor(to)?.stream
    if (stream === undefined || stream.isClosed) return
    for (const batch of sliceByBytes(messages)) {
      stream.send({ envelope: this.#envelope(to.id), messages: batch.map(toWireMessage) })
    }
  }

  async sendSnapshot(
    to: RaftMember,
    header: SnapshotHeader,
    chunks: AsyncIterable<Uint8Array>,
  ): Promise<RaftMessage> {
    const peer = this.#peerFor(to)
    if (peer === undefined) throw new Error(`${to.id} cannot be reached`)
    let running: { cancel(): void } | undefined
    const onCall = (call: { cancel(): void }): void => {
      running = call
      this.#snapshotCalls.add(call)
    }
    try {
      return await sendSnapshot(peer.client, { header, chunks, onCall })
    } finally {
      if (running !== undefined) this.#snapshotCalls.delete(running)
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#receiver = undefined
    clearInterval(this.#sweeper)
    for (const call of this.#snapshotCalls) call.cancel()
    for (const stream of [...this.#accepted]) stream.close()
    for (const peer of [...this.#peers.values()]) this.#drop(peer)
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
    const client = new wire.RaftTransportClient(
      address,
      credentials.createInsecure(),
      CLIENT_OPTIONS,
    )
    const lastSentMs = performance.now()
    const common = { stream: undefined, redial: undefined, failures: 0 }
    const peer: Peer = { id, address, client, ...common, lastSentMs }
    this.#peers.set(id, peer)
    this.#dial(peer)
    return peer
  }

  #drop(peer: Peer): void {
    if (this.#peers.get(peer.id) === peer) this.#peers.delete(peer.id)
    clearTimeout(peer.redial)
    peer.stream?.close()
    peer.client.close()
  }

  #sweep(): void {
    const nowMs = performance.now()
    for (const peer of [...this.#peers.values()]) {
      if (!this.#members.has(peer.id) && nowMs - peer.lastSentMs > IDLE_MS) this.#drop(peer)
    }
  }

  #envelope(to: string): wire.Envelope {
    const { clusterId, nodeId, incarnation, members } = this.#options
    const address = members.find((member) => member.id === nodeId)?.address ?? ''
    const common = { clusterId, from: nodeId, to, incarnation }
    return { ...common, protocolVersion: PROTOCOL_VERSION, address }
  }

  #dial(peer: Peer): void {
    const call = peer.client.exchange()
    const stream = new PeerStream(call, {
      // It only tells that it listens.
      frame: () => this.#reached(peer),
      closed: (closed, error) => {
        call.cancel()
        if (peer.stream === closed) peer.stream = undefined
        if (this.#stopped || this.#peers.get(peer.id) !== peer) return
        if (error !== undefined) this.#missed(peer, error)
        peer.redial = setTimeout(() => this.#dial(peer), REDIAL_MS)
      },
    })
    stream.peer = peer.id
    peer.stream = stream
    stream.send({ envelope: this.#envelope(peer.id), messages: [] })
  }

  #accept(call: ServerDuplexStream<wire.RaftFrame, wire.RaftFrame>): void {
    if (this.#receiver === undefined) {
      call.emit('error', asCallError(status.UNAVAILABLE, 'this member does not run'))
      return
    }
    const stream = new PeerStream(call as FrameStream, {
      frame: (from, frame) => {
        const refused = from.peer === undefined ? this.#greeted(from, frame) : undefined
        if (refused === undefined) {
          this.#frame(from, frame)
          return
        }
        this.#options.log.warn({ from: frame.envelope?.from, reason: refused }, 'a peer is refused')
        call.emit('error', asCallError(status.FAILED_PRECONDITION, refused))
      },
      closed: (closed) => void this.#accepted.delete(closed),
    })
    this.#accepted.add(stream)
    call.on('cancelled', () => stream.close())
  }

  /** The other side says who it is. Returns why it is refused. */
  #greeted(stream: PeerStream, { envelope }: wire.RaftFrame): string | undefined {
    const refused = this.#refusal(envelope)
    if (refused !== undefined || envelope === undefined) return refused
    stream.peer = envelope.from
    stream.send({ envelope: this.#envelope(envelope.from), messages: [] })
    return undefined
  }

  /** Whether the sender is a member is for the core to judge: this one may not have heard of it yet. */
  #refusal(envelope: Omit<wire.Envelope, 'address'> | undefined): string | undefined {
    const { clusterId, nodeId } = this.#options
    if (envelope === undefined) return 'a frame has no envelope'
    const { protocolVersion, from, to } = envelope
    if (envelope.clusterId !== clusterId) {
      return `this member is of cluster ${clusterId}, not of ${envelope.clusterId}`
    }
    if (to !== nodeId) return `this member is ${nodeId}, not ${to}`
    if (protocolVersion !== PROTOCOL_VERSION) {
      return `this member speaks version ${PROTOCOL_VERSION}, not ${protocolVersion}`
    }
    if (from === '' || from === nodeId) return `a frame comes from ${from || 'nobody'}`
    return undefined
  }

  #frame(stream: PeerStream, frame: wire.RaftFrame): void {
    const { envelope } = frame
    const isRefused = this.#refusal(envelope) !== undefined
    if (isRefused || envelope === undefined || envelope.from !== stream.peer) {
      stream.close(new Error('a frame came under another name than its stream'))
      return
    }
    for (const message of frame.messages) {
      const known = readMessage(envelope, message)
      if (known === undefined) {
        stream.close(new Error('a message cannot be read'))
        return
      }
      this.#receiver?.message(known)
    }
  }

  #acceptSnapshot(call: { destroy(error: Error): unknown }, header: SnapshotHeader) {
    const refused = this.#refusal(header)
    if (refused !== undefined) return refused
    const receiver = this.#receiver
    if (receiver === undefined) return 'this member does not run'
    const abort = { cancel: () => void call.destroy(new Error('this member stops')) }
    this.#snapshotCalls.add(abort)
    return {
      message: receiver.message,
      snapshot: async (offered: SnapshotHeader, chunks: AsyncIterable<Uint8Array>) => {
        try {
          return await receiver.snapshot(offered, chunks)
        } finally {
          this.#snapshotCalls.delete(abort)
        }
      },
    }
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

function readMessage(envelope: wire.Envelope, message: wire.RaftMessage): RaftMessage | undefined {
  try {
    return fromWireMessage(envelope, message)
  } catch {
    return undefined
  }
}

function asCallError(code: status, details: string): Error {
  return Object.assign(new Error(details), { code, details })
}

/** In order, each slice small enough for one frame or a single message. */
export function sliceByBytes(messages: readonly RaftMessage[]): readonly RaftMessage[][] {
  const slices: RaftMessage[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const message of messages) {
    const more = toBytes(message)
    if (bytes + more > FRAME_BYTES_MAX) {
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
