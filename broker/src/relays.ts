/**
 * Between protocols that write whole batches and those with addresses, composed: what records of Kafka's producers are as
 * messages, and what messages are in the logs of topics.
 */
import type { NewRecord, StoredRecord } from '@robust/storage-adapters'
import type { FunctionParts } from './cluster/shard-host.ts'
import type { LogShard } from './core/logs/log-shard.ts'
import type { Message } from './core/message.ts'
import type { Messaging } from './core/messaging.ts'
import { toKeyedRecord } from './core/record.ts'
import { LogRelays, type RelayTargets } from './core/topics/log-relays.ts'
import type { Topic } from './core/topics/topic.ts'
import type { Topics } from './core/topics/topics.ts'
import { propertiesOf } from './protocols/mqtt/foreign-properties.ts'
import { DIALECT as MQTT } from './protocols/mqtt/mapping.ts'
import { sharedHeadersOf } from './queues.ts'

const NO_BYTES = Buffer.alloc(0)

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
    ...{
      dialect: MQTT,
      properties: propertiesOf(key === null ? headers : [['key', key], ...headers]),
      timestampMs: timestamp,
    },
    ...{ expiresAtMs: 0, publisher: '', token: '' },
  }
}

/** What was published to an address, in the log of a topic. */
export function recordInTopic(message: Message): NewRecord {
  if (message.properties.byteLength === 0) return toKeyedRecord(message)
  return toKeyedRecord(message, sharedHeadersOf(message))
}
