/**
 * What a client is sent: live messages, and the inbox of a durable session. Keeps the client's receive
 * window, packet ids and the states of at-least-once and exactly-once deliveries.
 *
 * The packet id of an inbox message follows from its offset, so that it is the same on every connection and
 * at every broker. [MQTT-4.4.0-1] Live messages, which end with their connection, count up.
 */
import type { AttachedSession } from '../../core/attached-session.ts'
import type { GroupDelivery } from '../../core/groups/hosted-groups.ts'
import {
  effectiveGuarantee,
  type Guarantee,
  type Message,
  ownCopy,
  type Subscription,
} from '../../core/message.ts'
import { OffsetRing } from '../../core/offset-ring.ts'
import type { Delivery } from '../../core/ports/connections.ts'
import type { Latencies } from '../../core/ports/telemetry.ts'
import type { Outbox } from '../shared/outbox.ts'
import { encodeAck } from './codec/encode.ts'
import { writeMessage } from './deliver.ts'
import type { SharedHeaders } from './foreign-properties.ts'
import { PENDING_BYTES_USUAL } from './limits.ts'
import { FlightState, LiveFlights } from './live-flights.ts'
import { OutgoingAliases } from './outgoing-aliases.ts'
import { type AckType, PacketType, type ProtocolVersion, ReasonCode } from './packets.ts'

export interface OutboundOptions {
  readonly outbox: Outbox
  readonly version: ProtocolVersion
  /** Messages under way that the client allows. */
  readonly window: number
  readonly packetBytesMax: number
  /** Topic aliases that the client takes; 0 none. */
  readonly aliasesMax: number
  /** Wall clock. */
  readonly nowMs: () => number
  /** Since a broker took the message; not of what is at most once, nor of what is sent again. */
  readonly latencies: Latencies
  readonly limits: () => OutboundLimits
  /** What messages of other dialects say; undefined: nothing is known of them. */
  readonly shared?: SharedHeaders | undefined
  /** Live messages wait for this client beyond all bounds. */
  readonly onOverflow: () => void
  readonly onFailure: (error: unknown) => void
}

export interface OutboundLimits {
  /** Unsent, above which at-most-once messages are dropped. */
  readonly unsentBytesMax: number
  /** Of messages that wait for the window. */
  readonly waitingBytesMax: number
}

interface Waiting {
  readonly message: Message
  /** Runs when the client has it, or will not get it. */
  readonly done?: () => void
  readonly guarantee: Guarantee
  readonly retain: boolean
  readonly identifiers: readonly number[]
}

/** Of a message of the session's inbox that is under way. */
const InboxState = { published: 0, publishedExactlyOnce: 1, releasing: 2, released: 3 } as const
type InboxState = (typeof InboxState)[keyof typeof InboxState]

/** Offset and state in one number. */
function flightOf(offset: number, state: InboxState): number {
  return offset * 4 + state
}

function stateOf(flight: number | undefined): InboxState | undefined {
  return flight === undefined ? undefined : ((flight % 4) as InboxState)
}

function offsetOf(flight: number): number {
  return Math.floor(flight / 4)
}

const NONE: readonly number[] = []
const PACKET_IDS = 0xffff

export class Outbound {
  readonly #options: OutboundOptions
  /** By packet id. */
  #flights: OffsetRing | undefined
  readonly #live = new LiveFlights()
  /** By the packet ids of live messages: whom to tell that the client has it. */
  #done: Map<number, () => void> | undefined
  readonly #waiting: Waiting[] = []
  #waitingBytes = 0
  readonly #aliases: OutgoingAliases | undefined
  #session: AttachedSession | undefined
  messages = 0
  payloadBytes = 0
  #behindSinceMs = -1
  /** Messages of the inbox that the client is done with. */
  #finished = 0
  /** Messages, of the inbox and others, that the client has acknowledged. */
  acknowledgements = 0
  redelivered = 0
  #finishedBefore = 0
  /** It has been behind for longer than the policy has patience. */
  isSlow = false
  /** At-most-once messages that the client was too slow for, messages larger than it takes, and expired ones. */
  dropped = 0

  constructor(options: OutboundOptions) {
    this.#options = options
    const { aliasesMax } = options
    if (aliasesMax > 0) this.#aliases = new OutgoingAliases(aliasesMax)
  }

  /** Messages that the client has not acknowledged. */
  get inFlight(): number {
    return (this.#flights?.size ?? 0) + this.#live.size
  }

  attach(session: AttachedSession): void {
    this.#session = session
  }

  /** Something waits for the client's window, or for its socket. */
  get isBehind(): boolean {
    return this.#waiting.length > 0 || this.#options.outbox.pendingBytes > PENDING_BYTES_USUAL
  }

  /** Called about every second: whether the client has become slow, or has caught up. */
  checkPace(nowMs: number, patienceMs: number): 'slow' | 'caught-up' | undefined {
    // The socket may have taken what was before it without any acknowledgement.
    this.#launchWaiting()
    const { outbox, window } = this.#options
    // A full window that moves is a client that keeps up.
    const hasMoved = this.#finished !== this.#finishedBefore
    this.#finishedBefore = this.#finished
    const isBehind =
      outbox.pendingBytes > PENDING_BYTES_USUAL ||
      this.#waiting.length > 0 ||
      ((this.#flights?.size ?? 0) >= window && !hasMoved)
    if (!isBehind) {
      this.#behindSinceMs = -1
      if (!this.isSlow) return undefined
      this.isSlow = false
      return 'caught-up'
    }
    if (this.#behindSinceMs < 0) this.#behindSinceMs = nowMs
    if (this.isSlow || patienceMs === 0 || nowMs - this.#behindSinceMs <= patienceMs)
      return undefined
    this.isSlow = true
    return 'slow'
  }

  deliver(message: Message, grants: readonly Subscription[]): void {
    const guarantee = effectiveGuarantee(message, grants)
    let retain = false
    let identifiers = NONE
    for (let i = 0; i < grants.length; i++) {
      const grant = grants[i] as Subscription
      if (grant.retainAsPublished) retain = message.retain
      if (grant.identifier !== 0) identifiers = [...identifiers, grant.identifier]
    }
    if (guarantee === 0) {
      if (this.#isFull) this.dropped++
      else this.#write(message, { guarantee, retain, identifiers, packetId: 0, duplicate: false })
      return
    }
    this.sendLive(message, { guarantee, retain, identifiers })
  }

  /** Of a shared subscription. */
  deliverShared(delivery: GroupDelivery, done: () => void): void {
    const { message, guarantee, retain, identifier } = delivery
    const identifiers = identifier === 0 ? NONE : [identifier]
    if (guarantee > 0) {
      this.sendLive(message, { guarantee, retain, identifiers, done })
      return
    }
    if (this.#isFull) this.dropped++
    else this.sendLive(message, { guarantee, retain, identifiers })
    done()
  }

  /** At-least-once or better, outside any inbox: waits when the client's window is full. */
  sendLive(message: Message, how: Omit<Waiting, 'message'>): void {
    if (how.guarantee === 0) {
      this.#write(message, { ...how, packetId: 0, duplicate: false })
      return
    }
    if (this.#mayLaunch && this.#waiting.length === 0) {
      this.#launch(message, how)
      return
    }
    this.#waitingBytes += message.payload.byteLength + message.address.length
    this.#waiting.push({ message: ownCopy(message), ...how })
    if (this.#waitingBytes > this.#options.limits().waitingBytesMax) this.#options.onOverflow()
  }

  /** From the session's inbox, within the window that its owner was told. */
  push(deliveries: readonly Delivery[]): void {
    this.#flights ??= new OffsetRing()
    const flights = this.#flights
    for (const delivery of deliveries) {
      const packetId = packetIdOf(delivery.offset)
      if (delivery.released) {
        flights.set(packetId, flightOf(delivery.offset, InboxState.released))
        this.#acknowledge(PacketType.pubrel, packetId, ReasonCode.success)
        continue
      }
      const { message, identifiers } = delivery
      const { guarantee, retain } = message
      const how = { guarantee, retain, identifiers, packetId, duplicate: delivery.redelivered }
      const state = guarantee === 2 ? InboxState.publishedExactlyOnce : InboxState.published
      flights.set(packetId, flightOf(delivery.offset, state))
      if (!this.#write(message, how)) this.#finish(packetId)
    }
  }

  /** PUBACK, PUBREC or PUBCOMP. */
  acknowledged(type: AckType, packetId: number, reasonCode: number): void {
    const live = this.#live.get(packetId)
    if (live !== FlightState.free) {
      this.#liveAcknowledged(type, packetId, {
        live,
        failed: reasonCode >= ReasonCode.unspecifiedError,
      })
      return
    }
    const flight = this.#flights?.get(packetId)
    if (type === PacketType.pubrec) {
      this.#received(packetId, flight, reasonCode)
      return
    }
    const expected = type === PacketType.puback ? InboxState.published : InboxState.released
    if (stateOf(flight) !== expected) return
    this.acknowledgements++
    this.#finish(packetId)
  }

  #liveAcknowledged(
    type: AckType,
    packetId: number,
    { live, failed }: { live: FlightState; failed: boolean },
  ): void {
    if (type === PacketType.pubrec && live !== FlightState.published && !failed) {
      this.#live.set(packetId, FlightState.released)
      this.#completed(packetId)
      this.#acknowledge(PacketType.pubrel, packetId, ReasonCode.success)
      return
    }
    const over =
      (type === PacketType.puback && live === FlightState.published) ||
      (type === PacketType.pubcomp && live === FlightState.released) ||
      (type === PacketType.pubrec && failed)
    if (!over) return
    this.acknowledgements++
    this.#live.remove(packetId)
    this.#completed(packetId)
    if (this.#waiting.length > 0) this.#launchWaiting()
  }

  #completed(packetId: number): void {
    if (this.#done === undefined) return
    this.#done.get(packetId)?.()
    this.#done.delete(packetId)
  }

  #received(packetId: number, flight: number | undefined, reasonCode: number): void {
    const state = stateOf(flight)
    if (flight === undefined || state === InboxState.published) {
      const reason =
        this.#options.version === 5 ? ReasonCode.packetIdentifierNotFound : ReasonCode.success
      this.#acknowledge(PacketType.pubrel, packetId, reason)
      return
    }
    if (reasonCode >= ReasonCode.unspecifiedError) {
      this.#finish(packetId)
      return
    }
    if (state === InboxState.releasing) return
    if (state === InboxState.released || this.#session === undefined) {
      this.#acknowledge(PacketType.pubrel, packetId, ReasonCode.success)
      return
    }
    // From PUBREL on the client may forget the id: the message must never be sent again after it.
    const offset = offsetOf(flight)
    const releasing = flightOf(offset, InboxState.releasing)
    this.#flights?.set(packetId, releasing)
    this.#session.release(offset).then(() => {
      if (this.#flights?.get(packetId) === releasing) {
        this.#flights.set(packetId, flightOf(offset, InboxState.released))
      }
      this.#acknowledge(PacketType.pubrel, packetId, ReasonCode.success)
    }, this.#options.onFailure)
  }

  #finish(packetId: number): void {
    const flight = this.#flights?.delete(packetId)
    if (flight === undefined) return
    this.#finished++
    this.#session?.acknowledge(offsetOf(flight))
  }

  /** A large window of large messages would be more than a socket should have before it. */
  get #mayLaunch(): boolean {
    return this.#live.size < this.#options.window && !this.#isFull
  }

  /** Asked for every message: no limit is below what is usual, so the limits are seldom looked up. */
  get #isFull(): boolean {
    const { outbox, limits } = this.#options
    const { pendingBytes } = outbox
    return pendingBytes > PENDING_BYTES_USUAL && pendingBytes > limits().unsentBytesMax
  }

  #launchWaiting(): void {
    while (this.#waiting.length > 0 && this.#mayLaunch) {
      const next = this.#waiting.shift() as Waiting
      this.#waitingBytes -= next.message.payload.byteLength + next.message.address.length
      const { expiresAtMs } = next.message
      // It waited for longer than it was to live. [MQTT-3.3.2-5]
      if (expiresAtMs !== 0 && expiresAtMs <= this.#options.nowMs()) {
        this.dropped++
        next.done?.()
        continue
      }
      this.#launch(next.message, next)
    }
  }

  #launch(message: Message, how: Omit<Waiting, 'message'>): void {
    const state = how.guarantee === 2 ? FlightState.publishedExactlyOnce : FlightState.published
    const packetId = this.#live.add(state)
    const { guarantee, retain, identifiers, done } = how
    const fields = { guarantee, retain, identifiers, packetId, duplicate: false }
    if (!this.#write(message, fields)) {
      this.#live.remove(packetId)
      done?.()
    } else if (done !== undefined) {
      this.#done ??= new Map()
      this.#done.set(packetId, done)
    }
  }

  #write(
    message: Message,
    how: Omit<Waiting, 'message'> & { packetId: number; duplicate: boolean },
  ): boolean {
    const { outbox, version, packetBytesMax, nowMs, latencies, shared } = this.#options
    const written = writeMessage(outbox, message, {
      version,
      packetBytesMax,
      nowMs: message.expiresAtMs === 0 ? 0 : nowMs(),
      guarantee: how.guarantee,
      retain: how.retain,
      identifiers: how.identifiers,
      packetId: how.packetId,
      duplicate: how.duplicate,
      aliases: this.#aliases,
      shared,
    })
    this.payloadBytes += written ? message.payload.byteLength : 0
    if (!written) {
      this.dropped++
      return false
    }
    this.messages++
    if (how.duplicate) this.redelivered++
    else if (how.guarantee > 0) latencies.record(Math.max(0, nowMs() - message.timestampMs))
    return true
  }

  #acknowledge(type: AckType, packetId: number, reasonCode: number): void {
    const bytes = encodeAck({ type, packetId, reasonCode }, this.#options.version)
    this.#options.outbox.slice(bytes, 0, bytes.length)
  }
}

/** Offsets in flight span less than 65,535, so no two of them share an id. */
export function packetIdOf(offset: number): number {
  return (offset % PACKET_IDS) + 1
}
