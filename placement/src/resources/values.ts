/**
 * What the value of each kind of resource may be. Checked before a change is proposed, never when it is
 * applied: all members must apply a command alike, whatever version of this table they have.
 */
import {
  PERMISSION_ACTIONS,
  PERMISSION_SUBJECTS,
  refusalOfQueue,
  refusalOfSetting,
  refusalOfTopic,
} from '@robust/proto'
import type { ResourceKind } from '../metadata/resources.ts'

type Check = (value: unknown) => boolean

interface Field {
  readonly is: string
  readonly check: Check
  readonly required?: true
}

const text: Field = { is: 'a text', check: (value) => typeof value === 'string' }
const flag: Field = { is: 'true or false', check: (value) => typeof value === 'boolean' }
const texts: Field = {
  is: 'a list of texts',
  check: (value) => Array.isArray(value) && value.every((item) => typeof item === 'string'),
}
const bridgeRules: Field = {
  is: 'a list of {filter, qos, prefix}',
  check: (value) => Array.isArray(value) && value.every(isBridgeRule),
}
const rate: Field = {
  is: 'a number above 0',
  check: (value) => Number.isFinite(value) && Number(value) > 0,
}
const object: Field = { is: 'an object', check: isObject }

function oneOf(...values: readonly (string | number)[]): Field {
  return { is: `one of ${values.join(', ')}`, check: (value) => values.includes(value as never) }
}

function required(field: Field): Field {
  return { ...field, required: true }
}

/** A field that is not named here is refused: a typo must not be kept as if it meant something. */
const FIELDS: Readonly<
  Record<Exclude<ResourceKind, 'setting' | 'topic' | 'queue'>, Readonly<Record<string, Field>>>
> = {
  // Named by the version at which the topic came to be: its logs are found by it.
  'deleted-topic': { name: required(text) },
  // The same of a queue: what it keeps is found by it, on the shard of its name.
  'deleted-queue': { name: required(text) },
  exchange: {
    type: required(text),
    durable: flag,
    autoDelete: flag,
    internal: flag,
    arguments: object,
  },
  binding: {
    source: required(text),
    destination: required(text),
    destinationKind: text,
    routingKey: text,
    arguments: object,
  },
  user: { tags: texts, credentials: object, disabled: flag },
  // Named by its id; the secret itself, since a signature cannot be checked by a hash of it.
  'access-key': { user: required(text), secret: required(text), account: text },
  // Of a user, a client id or both, by what it is named; an empty name is whoever has no quota of its own.
  'client-quota': {
    user: text,
    client: text,
    producerByteRate: rate,
    consumerByteRate: rate,
    requestPercentage: rate,
  },
  // By the names that Kafka has for them; named as the group.
  'group-config': {
    'consumer.heartbeat.interval.ms': text,
    'consumer.session.timeout.ms': text,
    'share.auto.offset.reset': text,
    'share.heartbeat.interval.ms': text,
    'share.record.lock.duration.ms': text,
    'share.session.timeout.ms': text,
  },
  'auto-subscription': {
    topic: required(text),
    qos: oneOf(0, 1, 2),
    noLocal: flag,
    retainAsPublished: flag,
    retainHandling: oneOf(0, 1, 2),
  },
  'topic-rewrite': {
    action: required(oneOf('publish', 'subscribe', 'all')),
    filter: required(text),
    target: required(text),
  },
  // By `kind` and what it names; `until` is wall clock, ms, and nothing for ever.
  ban: {
    kind: required(oneOf('client', 'user', 'address')),
    who: required(text),
    until: { is: 'a time in ms', check: (value) => Number.isInteger(value) },
    reason: text,
  },
  bridge: {
    url: required({ is: 'mqtt://HOST[:PORT] or mqtts://HOST[:PORT]', check: isBridgeUrl }),
    protocol: oneOf(4, 5),
    clientId: text,
    username: text,
    password: text,
    // PEM certificates that the other side's is checked by.
    authorities: text,
    insecure: flag,
    keepAliveSeconds: {
      is: 'a whole number from 1 to 65535',
      check: (value) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535,
    },
    in: bridgeRules,
    out: bridgeRules,
  },
  permission: {
    user: required(text),
    action: required(oneOf(...PERMISSION_ACTIONS)),
    pattern: required(text),
    allow: flag,
    on: oneOf(...PERMISSION_SUBJECTS),
    prefix: flag,
    host: text,
    qos: { is: 'a list of 0, 1 and 2', check: isQosList },
    retain: flag,
  },
}

/** Undefined: the value may be stored. Else what is wrong with it. */
export function refusalOfValue(
  kind: ResourceKind,
  name: string,
  value: unknown,
): string | undefined {
  if (kind === 'setting') return refusalOfSetting(name, value)
  if (kind === 'topic') return refusalOfTopic(name, value)
  if (kind === 'queue') return refusalOfQueue(name, value)
  if (!isObject(value)) return `the value of a ${kind} is an object`
  const fields = FIELDS[kind]
  for (const [key, item] of Object.entries(value)) {
    const field = Object.hasOwn(fields, key) ? fields[key] : undefined
    if (field === undefined) {
      return `a ${kind} has no field ${key}; it has ${Object.keys(fields).join(', ')}`
    }
    if (!field.check(item)) return `${key} of a ${kind} is ${field.is}`
  }
  for (const [key, field] of Object.entries(fields)) {
    if (field.required && !Object.hasOwn(value, key)) return `a ${kind} needs the field ${key}`
  }
  return undefined
}

function isBridgeUrl(value: unknown): boolean {
  return typeof value === 'string' && /^mqtts?:\/\/[^/@?#\s]+$/.test(value) && URL.canParse(value)
}

function isBridgeRule(value: unknown): boolean {
  if (!isObject(value)) return false
  const { filter, qos, prefix, ...more } = value
  return (
    typeof filter === 'string' &&
    filter !== '' &&
    [0, 1, 2].includes(qos as number) &&
    typeof prefix === 'string' &&
    !/[+#]|^\$/.test(prefix) &&
    Object.keys(more).length === 0
  )
}

function isQosList(value: unknown): boolean {
  return Array.isArray(value) && value.every((qos) => [0, 1, 2].includes(qos as number))
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
