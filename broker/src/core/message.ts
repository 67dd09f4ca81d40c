/** A message on its way, the same for every dialect, and who may receive it. */

/**
 * A message as its dialect's own packet lies in a buffer. It may be passed on as it is to a receiver of the same dialect
 * that takes the same layout.
 */
export interface Packet {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  readonly propertiesStart: number
  readonly propertiesEnd: number
  /** The payload ends with the packet. */
  readonly payloadStart: number
  /** Of the dialect's choice: 0 to 255. */
  readonly layout: number
}

/** 0 at most once, 1 at least once, 2 exactly once. */
export type Guarantee = 0 | 1 | 2

export interface Message {
  /** Levels joined by `/`, no wildcards. */
  readonly address: string
  readonly guarantee: Guarantee
  /** The newest message of an address that is kept for later subscribers; an empty payload forgets it. */
  readonly retain: boolean
  readonly payload: Uint8Array
  /** The dialect that published it, and that dialect's own properties, verbatim. */
  readonly dialect: string
  readonly properties: Uint8Array
  /** Wall clock of the broker that took it, ms. */
  readonly timestampMs: number
  /** Wall clock, ms; 0 never. */
  readonly expiresAtMs: number
  /** Session name of the publisher, for subscribers that want no messages of their own. */
  readonly publisher: string
  /** Identifies an exactly-once message over retries; empty where the guarantee is lower. */
  readonly token: string
  /** As it came; undefined: it cannot be passed on so. */
  readonly packet?: Packet | undefined
}

export interface Subscription {
  readonly filter: string
  /** The highest guarantee that the subscriber asked for. */
  readonly guarantee: Guarantee
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  /** Chosen by the subscriber, handed back with each message; 0 none. */
  readonly identifier: number
}

/** Receives live messages. Called synchronously, many times a turn: it must only queue. */
export interface Subscriber {
  /** Session name, unique in the cluster. */
  readonly name: string
  /** `grants`: the matching subscriptions of this subscriber, at least one. */
  deliver(message: Message, grants: readonly Subscription[]): void
}

/** Told once when a published message has reached the state that its guarantee promises. */
export interface Receipt {
  settle(outcome: PublishOutcome): void
  /** The publisher can be told no. Who cannot be waits until there is room. */
  readonly refusable?: boolean
  /** Nobody waits: `settle` need not be called. */
  readonly isSilent?: boolean
  /** Storage is short of room: the publisher should be read slower for so long. Called before `publish` returns. */
  slow?(ms: number): void
}

export type PublishOutcome = 'accepted' | 'refused'

export function effectiveGuarantee(message: Message, grants: readonly Subscription[]): Guarantee {
  let granted: Guarantee = 0
  for (const grant of grants) if (grant.guarantee > granted) granted = grant.guarantee
  return message.guarantee < granted ? message.guarantee : granted
}

/** Grants that remain when the subscriber is the publisher and some subscriptions want no local messages. */
export function grantsFor(
  message: Message,
  name: string,
  grants: readonly Subscription[],
): readonly Subscription[] {
  if (message.publisher !== name) return grants
  return grants.some((grant) => grant.noLocal) ? grants.filter((grant) => !grant.noLocal) : grants
}

/** A message whose bytes are its own: it may be kept for as long as it is wanted. */
class OwnMessage implements Message {
  readonly address: string
  readonly guarantee: Guarantee
  readonly retain: boolean
  readonly payload: Uint8Array
  readonly dialect: string
  readonly properties: Uint8Array
  readonly timestampMs: number
  readonly expiresAtMs: number
  readonly publisher: string
  readonly token: string

  constructor(message: Message, guarantee: Guarantee, retain: boolean) {
    const isOwn = message instanceof OwnMessage
    this.address = message.address
    this.guarantee = guarantee
    this.retain = retain
    this.payload = isOwn ? message.payload : ownBytes(message.payload)
    this.dialect = message.dialect
    this.properties = isOwn ? message.properties : ownBytes(message.properties)
    this.timestampMs = message.timestampMs
    this.expiresAtMs = message.expiresAtMs
    this.publisher = message.publisher
    this.token = message.token
  }
}

const NO_BYTES = new Uint8Array(0)

function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === 0 ? NO_BYTES : new Uint8Array(bytes)
}

/** A plain copy of what may be a view into a socket's read buffer; what is one already is its own. */
export function ownCopy(message: Message): Message {
  if (message instanceof OwnMessage) return message
  return new OwnMessage(message, message.guarantee, message.retain)
}

/** The message as one subscriber gets it. Spreading would miss the getters of a dialect's own message. */
export function withDelivery(message: Message, guarantee: Guarantee, retain: boolean): Message {
  if (message instanceof OwnMessage) {
    const isSame = message.guarantee === guarantee && message.retain === retain
    return isSame ? message : new OwnMessage(message, guarantee, retain)
  }
  return {
    address: message.address,
    guarantee,
    retain,
    payload: message.payload,
    dialect: message.dialect,
    properties: message.properties,
    timestampMs: message.timestampMs,
    expiresAtMs: message.expiresAtMs,
    publisher: message.publisher,
    token: message.token,
  }
}
