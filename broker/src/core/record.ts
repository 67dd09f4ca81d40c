/**
 * Messages as log records. Shared headers carry what every dialect understands; `<dialect>-properties`
 * holds the dialect's own bytes, verbatim.
 */
import type { NewRecord, RecordHeader, StoredRecord } from '@robust/storage-adapters'
import type { Guarantee, Message } from './message.ts'

const NO_BYTES = new Uint8Array(0)
const PROPERTIES = '-properties'

/** Of a message with this header the record has it as its key. */
const KEY = 'key'

/**
 * In a topic's log, where other dialects read it too: `shared` are the headers that all understand. Its address is the
 * key, unless it brings one, so that compaction keeps the newest message of each address.
 */
export function toKeyedRecord(message: Message, shared: readonly RecordHeader[] = []): NewRecord {
  const record = toRecord(message)
  if (shared.length === 0) return { ...record, key: utf8(message.address) }
  const key = shared.findLast(([name]) => name === KEY)?.[1] ?? utf8(message.address)
  const foreign = shared.filter(([name]) => name !== KEY && isForeign(name))
  return { ...record, key, headers: [...record.headers, ...foreign] }
}

/** It was published to an address: a dialect that writes whole batches gives its records no such headers. */
export function cameByAddress({ headers }: Pick<StoredRecord, 'headers'>): boolean {
  return headers[0]?.[0] === 'address' && headers[1]?.[0] === 'delivery'
}

/** Set by brokers only: nobody may bring them along. */
const OWN: ReadonlySet<string> = new Set([
  'address',
  'delivery',
  'publisher',
  'expires-at',
  'subscription',
  'sequence',
  'sent-at',
  'dead-letters',
  'moved-from',
  'transaction-checks',
  'transaction-check-at',
])

/**
 * Where other dialects read it too, as in a queue: `shared` are the headers that all understand, and those of the user.
 * An exactly-once message that is sent again is told by its token.
 */
export function toSharedRecord(message: Message, shared: readonly RecordHeader[]): NewRecord {
  const record = toRecord(message)
  const headers = [...record.headers]
  for (const header of shared) {
    const [name] = header
    if (isForeign(name)) headers.push(header)
  }
  if (message.token !== '') headers.push(['moved-from', utf8(message.token)])
  return { ...record, headers }
}

function isForeign(name: string): boolean {
  return !OWN.has(name) && !name.endsWith(PROPERTIES)
}

/** `identifiers`: of the matching subscriptions, for a record in a session's inbox. */
export function toRecord(message: Message, identifiers: readonly number[] = []): NewRecord {
  const headers: RecordHeader[] = [
    ['address', knownUtf8(message.address)],
    DELIVERIES[message.guarantee | (message.retain ? 4 : 0)] as RecordHeader,
    [propertiesOf(message.dialect), message.properties],
  ]
  if (message.publisher !== '') headers.push(['publisher', knownUtf8(message.publisher)])
  if (message.expiresAtMs !== 0) headers.push(['expires-at', utf8(String(message.expiresAtMs))])
  if (message.token !== '') headers.push(['message-id', utf8(message.token)])
  for (const identifier of identifiers) headers.push(['subscription', utf8(String(identifier))])
  return { timestamp: message.timestampMs, key: null, value: message.payload, headers }
}

export interface InboxEntry {
  readonly offset: number
  readonly message: Message
  readonly identifiers: readonly number[]
}

/** Copies what it keeps: a record is a view into a whole batch. */
export function fromRecord(record: StoredRecord): InboxEntry {
  const message = {
    address: '',
    guarantee: 0 as Guarantee,
    retain: false,
    payload: copy(record.value ?? NO_BYTES),
    dialect: '',
    properties: NO_BYTES as Uint8Array,
    timestampMs: record.timestamp,
    expiresAtMs: 0,
    publisher: '',
    token: '',
  }
  const identifiers: number[] = []
  for (const [name, value] of record.headers) {
    if (name === 'address') message.address = text(value)
    else if (name === 'delivery') {
      const bits = value[0] ?? 0
      message.guarantee = (bits & 3) as Guarantee
      message.retain = (bits & 4) !== 0
    } else if (name === 'publisher') message.publisher = text(value)
    else if (name === 'expires-at') message.expiresAtMs = Number(text(value))
    else if (name === 'message-id') message.token = text(value)
    else if (name === 'subscription') identifiers.push(Number(text(value)))
    else if (name.endsWith(PROPERTIES)) {
      message.dialect = name.slice(0, -PROPERTIES.length)
      message.properties = copy(value)
    }
  }
  return { offset: record.offset, message, identifiers }
}

/** By guarantee, with 4 more when the message is retained. */
const DELIVERIES: readonly RecordHeader[] = Array.from({ length: 8 }, (_, bits) => [
  'delivery',
  Uint8Array.of(bits),
])

const propertyNames = new Map<string, string>()

/** Joined once: a new text for each message would be flattened for each. */
function propertiesOf(dialect: string): string {
  let name = propertyNames.get(dialect)
  if (name === undefined) {
    name = `${dialect}${PROPERTIES}`
    propertyNames.set(dialect, name)
  }
  return name
}

const decoder = new TextDecoder()

function utf8(value: string): Uint8Array {
  return Buffer.from(value)
}

const KNOWN_TEXTS_MAX = 1_024
const KNOWN_TEXT_LENGTH_MAX = 256
const knownTexts = new Map<string, Uint8Array>()

/** Of what comes again and again: addresses, publishers. */
function knownUtf8(value: string): Uint8Array {
  if (value.length > KNOWN_TEXT_LENGTH_MAX) return utf8(value)
  let bytes = knownTexts.get(value)
  if (bytes === undefined) {
    bytes = utf8(value)
    if (knownTexts.size >= KNOWN_TEXTS_MAX) knownTexts.clear()
    knownTexts.set(value, bytes)
  }
  return bytes
}

function text(value: Uint8Array): string {
  return decoder.decode(value)
}

function copy(value: Uint8Array): Uint8Array {
  return Uint8Array.prototype.slice.call(value)
}
