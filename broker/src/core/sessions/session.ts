/** One session as its shard's owner knows it. Plain state; `session-shard.ts` changes it. */
import { BrokerError } from '../errors.ts'
import type { Message, Subscription } from '../message.ts'
import type { Timer } from '../ports/clock.ts'
import type { Attachment, SessionAddress } from '../ports/connections.ts'
import { decodeJson, encodeJson } from '../stored.ts'
import type { Inbox } from './inbox.ts'

/** Where the session is connected. */
export interface Connected extends Attachment {
  readonly node: string
  readonly nodeEpoch: number
}

export interface Will {
  readonly message: Message
  readonly delaySeconds: number
}

/** Seconds; the session ends with its connection. */
export const EXPIRES_AT_ONCE = 0
/** Seconds; the session does not end by itself. [MQTT5 3.1.2.11.2] */
export const EXPIRES_NEVER = 0xffff_ffff

export interface Session {
  readonly name: string
  /** Who has it; empty: nobody in particular. */
  user: string
  expirySeconds: number
  connected: Connected | undefined
  /** Wall clock, ms; 0 while connected. */
  detachedAtMs: number
  will: Will | undefined
  readonly subscriptions: Map<string, Subscription>
  /** Packet ids of exactly-once messages that the client published and has not released, with their tokens. */
  readonly incoming: Map<number, string>
  /** Only sessions that outlive their connection have one. */
  inbox: Inbox | undefined
  /** Whether storage has a record of it. */
  stored: boolean
  timer: Timer | undefined
}

/** Timers of the platform take 31 bits of milliseconds. */
const TIMER_MS_MAX = 0x7fff_ffff

/** Until the will or the end of a session without a connection is due; undefined: never. */
export function nextWaitMs(session: Session, wallMs: number): number | undefined {
  const elapsed = wallMs - session.detachedAtMs
  const waits: number[] = []
  if (session.expirySeconds !== EXPIRES_NEVER) waits.push(session.expirySeconds * 1000 - elapsed)
  if (session.will !== undefined) waits.push(session.will.delaySeconds * 1000 - elapsed)
  if (waits.length === 0) return undefined
  return Math.min(TIMER_MS_MAX, Math.max(0, Math.min(...waits)))
}

/** Its time to live counts from its publication, however long its client was connected. */
export function publishedNow(message: Message, nowMs: number): Message {
  const { timestampMs, expiresAtMs } = message
  const expires = expiresAtMs === 0 ? 0 : nowMs + expiresAtMs - timestampMs
  return { ...message, timestampMs: nowMs, expiresAtMs: expires }
}

/** Throws REFUSED when the session is another user's, and that matters. */
export function requireOwner(
  session: Session | undefined,
  { user = '', ownerOnly = false }: { readonly user?: string; readonly ownerOnly?: boolean },
): void {
  const isAnothers = session !== undefined && session.user !== '' && session.user !== user
  if (ownerOnly && isAnothers) throw new BrokerError('REFUSED', 'the session is another user’s')
}

export function addressOf(session: Session, attachment: Attachment): SessionAddress {
  return { session: session.name, attachment }
}

export function newSession(name: string): Session {
  return {
    name,
    user: '',
    expirySeconds: EXPIRES_AT_ONCE,
    connected: undefined,
    detachedAtMs: 0,
    will: undefined,
    subscriptions: new Map(),
    incoming: new Map(),
    inbox: undefined,
    stored: false,
    timer: undefined,
  }
}

interface StoredSession {
  user?: string
  hasInbox: boolean
  expirySeconds: number
  connected: Connected | undefined
  detachedAtMs: number
  will: { message: StoredMessage; delaySeconds: number } | undefined
}

type StoredMessage = Omit<Message, 'payload' | 'properties'> & {
  payload: string
  properties: string
}

export function encodeSession(session: Session): Uint8Array {
  const { expirySeconds, connected, detachedAtMs, will } = session
  const stored: StoredSession = {
    user: session.user,
    hasInbox: session.inbox !== undefined,
    expirySeconds,
    connected,
    detachedAtMs,
    will: will && { message: encodeMessage(will.message), delaySeconds: will.delaySeconds },
  }
  return encodeJson(stored)
}

/** Without its inbox, which is made by who has the shard. */
export function decodeSession(
  name: string,
  value: Uint8Array,
): { session: Session; hasInbox: boolean } {
  const stored = decodeJson<StoredSession>(value)
  const session = {
    ...newSession(name),
    user: stored.user ?? '',
    expirySeconds: stored.expirySeconds,
    connected: stored.connected,
    detachedAtMs: stored.detachedAtMs,
    will: stored.will && {
      message: decodeMessage(stored.will.message),
      delaySeconds: stored.will.delaySeconds,
    },
    stored: true,
  }
  return { session, hasInbox: stored.hasInbox }
}

function encodeMessage(message: Message): StoredMessage {
  return {
    address: message.address,
    guarantee: message.guarantee,
    retain: message.retain,
    payload: Buffer.from(message.payload).toString('base64'),
    dialect: message.dialect,
    properties: Buffer.from(message.properties).toString('base64'),
    timestampMs: message.timestampMs,
    expiresAtMs: message.expiresAtMs,
    publisher: message.publisher,
    token: message.token,
  }
}

function decodeMessage(stored: StoredMessage): Message {
  return {
    ...stored,
    payload: Buffer.from(stored.payload, 'base64'),
    properties: Buffer.from(stored.properties, 'base64'),
  }
}
