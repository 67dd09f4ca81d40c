/**
 * raft-ts' transport over gRPC: one bidirectional stream for each pair of members, dialled by the one whose
 * id sorts first and made again when it breaks; snapshots on streams of their own. Does not listen itself:
 * its service is added to the server of the process.
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
  /** All members, this one included. */
  readonly members: readonly RaftMember[]
  readonly log: Logger
}

interface Peer {
  readonly id: string
  readonly client: wire.RaftTransportClient
  stream: PeerStream | undefined
  redial: NodeJS.Timeout | undefined
  /** Tries in a row that came to nothing. */
  failures: number
}

const REDIAL_MS = 100
const FAILURES_LOGGED = 5
/** The entries of one append may be 512 KiB; more than a few of them are sent as frames of their own. */
const FRAME_BYTES_MAX = 1024 * 1024

export class GrpcTransport implements Transport {
  readonly #options: GrpcTransportOptions
  readonly #peers = new Map<string, Peer>()
  readonly #accepted = new Set<PeerStream>()
  readonly #snapshotCalls = new Set<{ cancel(): void }>()
  #receiver: TransportReceiver | undefined
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
    for (const { id, address } of this.#options.members) {
      if (id === this.#options.nodeId) continue
      const client = new wire.RaftTransportClient(
        address,
        credentials.createInsecure(),
        CLIENT_OPTIONS,
      )
      const peer: Peer = { id, client, stream: undefined, redial: undefined, failures: 0 }
      this.#peers.set(id, peer)
      if (this.#options.nodeId < id) this.#dial(peer)
    }
  }

  send(to: RaftMember, messages: readonly RaftMessage[]): void {
    const stream = this.#peers.get(to.id)?.stream
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
    const peer = this.#peers.get(to.id)
    if (peer === undefined || this.#stopped) throw new Error(`${to.id} cannot be reached`)
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
    for (const call of this.#snapshotCalls) call.cancel()
    for (const stream of [...this.#accepted]) stream.close()
    for (const peer of this.#peers.values()) {
      clearTimeout(peer.redial)
      peer.stream?.close()
      peer.client.close()
    }
    this.#peers.clear()
  }

  #envelope(to: string): wire.Envelope {
    const { clusterId, nodeId, incarnation, members } = this.#options
    const address = members.find((member) => member.id === nodeId)?.address ?? ''
    const common = { clusterId, from: nodeId, to, incarnation }
    return { ...common, protocolVersion: PROTOCOL_VERSION, address }
  }

  #dial(peer: Peer): void {
    if (this.#stopped) return
    const call = peer.client.exchange()
    const stream = new PeerStream(call, {
      frame: (from, frame) => this.#frame(from, frame),
      closed: (closed, error) => {
        call.cancel()
        if (peer.stream === closed) peer.stream = undefined
        if (this.#stopped) return
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
      closed: (closed) => {
        this.#accepted.delete(closed)
        const peer = this.#peers.get(closed.peer ?? '')
        if (peer?.stream === closed) peer.stream = undefined
      },
    })
    this.#accepted.add(stream)
    call.on('cancelled', () => stream.close())
  }

  /** The other side says who it is. Returns why it is refused. */
  #greeted(stream: PeerStream, { envelope }: wire.RaftFrame): string | undefined {
    const refused = this.#refusal(envelope)
    const peer = this.#peers.get(envelope?.from ?? '')
    if (refused !== undefined || peer === undefined) return refused ?? 'not a member'
    stream.peer = peer.id
    const before = peer.stream
    peer.stream = stream
    before?.close()
    stream.send({ envelope: this.#envelope(peer.id), messages: [] })
    return undefined
  }

  #refusal(envelope: Omit<wire.Envelope, 'address'> | undefined): string | undefined {
    const { clusterId, nodeId } = this.#options
    if (envelope === undefined) return 'a frame has no envelope'
    const { protocolVersion, to } = envelope
    if (envelope.clusterId !== clusterId) {
      return `this member is of cluster ${clusterId}, not of ${envelope.clusterId}`
    }
    if (to !== nodeId) return `this member is ${nodeId}, not ${to}`
    if (protocolVersion !== PROTOCOL_VERSION) {
      return `this member speaks version ${PROTOCOL_VERSION}, not ${protocolVersion}`
    }
    if (!this.#peers.has(envelope.from)) return `${envelope.from} is not a member`
    return undefined
  }

  #frame(stream: PeerStream, frame: wire.RaftFrame): void {
    const { envelope } = frame
    const isRefused = this.#refusal(envelope) !== undefined
    if (isRefused || envelope === undefined || envelope.from !== stream.peer) {
      stream.close(new Error('a frame came under another name than its stream'))
      return
    }
    const peer = this.#peers.get(envelope.from)
    if (peer !== undefined) this.#reached(peer)
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
