/**
 * Between protocols that write whole batches and those with addresses, composed: what records of Kafka's producers are as
 * messages, and what messages are in the logs of topics.
 */
import { isUtf8 } from 'node:buffer'
import type { NewRecord, RecordHeader, StoredRecord } from '@robust/storage-adapters'
import type { FunctionParts } from './cluster/shard-host.ts'
import type { LogShard } from './core/logs/log-shard.ts'
import type { Message } from './core/message.ts'
import type { Messaging } from './core/messaging.ts'
import { toKeyedRecord } from './core/record.ts'
import { LogRelays, type RelayTargets } from './core/topics/log-relays.ts'
import type { Topic } from './core/topics/topic.ts'
import type { Topics } from './core/topics/topics.ts'
import { encodeProperties } from './protocols/mqtt/codec/properties.ts'
import { DIALECT as MQTT } from './protocols/mqtt/mapping.ts'
import { sharedHeadersOf } from './queues.ts'

const NO_BYTES = Buffer.alloc(0)
/** Of a string in MQTT: what is longer stays in the log. */
const TEXT_BYTES_MAX = 65_535

type RelayParts = Omit<FunctionParts, 'announce'> & { readonly logs: LogShard }

/** The relays of a shard that is owned here. */
export function composeRelays(
  { messaging, topics }: { readonly messaging: () => Messaging; readonly topics: Topics },
  parts: RelayParts,
): LogRelays {
  const targets: RelayTargets = {
    wants: (topic) => messaging().wantsOf(topic),
    relay: (topic, message) => messaging().relay(topic, message),
    messageOf,
  }
  return new LogRelays({ ...parts, targets, topicById: (id) => topics.byId(id) })
}

/** As every other protocol reads it: key and headers are user properties in MQTT's own form. */
export function messageOf(topic: Topic, { key, value, headers, timestamp }: StoredRecord): Message {
  return {
    ...{ address: topic.address, guarantee: 1, retain: false, payload: value ?? NO_BYTES },
    ...{ dialect: MQTT, properties: propertiesOf(key, headers), timestampMs: timestamp },
    ...{ expiresAtMs: 0, publisher: '', token: '' },
  }
}

function propertiesOf(key: Uint8Array | null, headers: readonly RecordHeader[]): Buffer {
  if (key === null && headers.length === 0) return NO_BYTES
  const all: readonly RecordHeader[] = key === null ? headers : [['key', key], ...headers]
  const userProperties: [string, string][] = []
  let contentType: string | undefined
  let correlationData: Buffer | undefined
  for (const [name, bytes] of all) {
    const text = textOf(bytes)
    if (name === 'correlation-id' && bytes.byteLength <= TEXT_BYTES_MAX) {
      correlationData = Buffer.from(bytes)
    } else if (text === undefined || !isText(name)) continue
    else if (name === 'content-type') contentType = text
    else userProperties.push([name, text])
  }
  return encodeProperties({
    ...(contentType !== undefined && { contentType }),
    ...(correlationData !== undefined && { correlationData }),
    ...(userProperties.length > 0 && { userProperties }),
  })
}

/** Bytes that are no text are told in base64; undefined: too long. */
function textOf(bytes: Uint8Array): string | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const text = isUtf8(buffer) && !buffer.includes(0) ? buffer.toString() : buffer.toString('base64')
  return Buffer.byteLength(text) <= TEXT_BYTES_MAX ? text : undefined
}

function isText(name: string): boolean {
  return !name.includes('\0') && Buffer.byteLength(name) <= TEXT_BYTES_MAX
}

/** What was published to an address, in the log of a topic. */
export function recordInTopic(message: Message): NewRecord {
  if (message.properties.byteLength === 0) return toKeyedRecord(message)
  return toKeyedRecord(message, sharedHeadersOf(message))
}
