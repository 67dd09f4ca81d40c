/** The way between two brokers: frames of `broker.proto` over a link, on the port of the broker's gRPC server. */
import { EventEmitter } from 'node:events'
import { broker, dialLink, type Link, type LinkEvents, type LinkService } from '@robust/proto'
import type { PeerStream } from './peer-link.ts'

const SERVICE = 'robust.broker.v1'
const PROTOCOL_VERSION = 3
const FRAME_KIND = 16
const LIVE_KIND = 17
/** The largest message that a client may be allowed to send, and what else is in its frame. */
const FRAME_BYTES_MAX = 320 * 1024 * 1024
const CHANNEL = { protocolVersion: PROTOCOL_VERSION, frameBytesMax: FRAME_BYTES_MAX } as const

export interface PeerIdentity {
  readonly clusterId: string
  readonly senderId: string
  /** A new one for each start of the process. */
  readonly incarnation: string
}

/** What peers dial. `accept`: one has. */
export function peerService(
  identity: () => PeerIdentity,
  accept: (stream: PeerStream) => void,
): LinkService {
  return {
    ...CHANNEL,
    name: SERVICE,
    greet: () => identity(),
    opened: (link) => {
      const stream = new LinkStream(link)
      accept(stream)
      return stream.events
    },
  }
}

/** Rejects with LinkRefusedError or LinkBrokenError. */
export async function dialPeer(options: {
  readonly address: string
  readonly node: string
  readonly identity: PeerIdentity
  readonly signal: AbortSignal
}): Promise<PeerStream> {
  const { address, node, identity, signal } = options
  let stream: LinkStream | undefined
  const link = await dialLink(
    { ...CHANNEL, address, service: SERVICE, identity, expectedId: node, signal },
    (opened) => {
      stream = new LinkStream(opened)
      return stream.events
    },
  )
  return stream ?? new LinkStream(link)
}

class LinkStream extends EventEmitter implements PeerStream {
  readonly #link: Link
  readonly events: LinkEvents

  constructor(link: Link) {
    super()
    this.#link = link
    this.events = {
      frame: (kind, payload) => {
        if (kind === LIVE_KIND) this.emit('live', payload)
        else this.emit('data', broker.PeerFrame.decode(payload))
      },
      drained: () => this.emit('drain'),
      closed: () => this.emit('close'),
    }
  }

  write(frame: broker.PeerFrame): boolean {
    return this.#link.send(FRAME_KIND, broker.PeerFrame.encode(frame).finish())
  }

  writeLive(frame: Buffer): boolean {
    return this.#link.send(LIVE_KIND, frame)
  }

  end(): void {
    this.#link.end()
  }
}
