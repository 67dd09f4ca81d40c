/**
 * Queues as they are kept in the metadata: one table of what can be set for a queue, for who checks it (Placement
 * Center), who sets it (command line, dialects) and who obeys it (brokers).
 */
import { refusalBySchema, type SettingSchema } from './settings.ts'
import { isRecord, parseJson, refusalOfFilters } from './stored-value.ts'

const YEARS_MS = 100 * 365 * 86_400_000
const NAME_BYTES_MAX = 1_024

function whole(
  [min, max, fallback]: readonly [number, number, number | null],
  about: { readonly unit?: string; readonly description: string },
): SettingSchema {
  return { type: 'integer', min, max, default: fallback, role: 'broker', ...about }
}

function flag(fallback: boolean, description: string): SettingSchema {
  return { type: 'boolean', default: fallback, role: 'broker', description }
}

/** The first one is the usual one. */
function choice(choices: readonly [string, ...string[]], description: string): SettingSchema {
  return { type: 'choice', choices, default: choices[0], role: 'broker', description }
}

export const QUEUE_SETTINGS = {
  'lease-ms': whole([0, YEARS_MS, 30_000], {
    unit: 'ms',
    description: 'a received message is hidden from others for so long, unless the receiver says',
  }),
  'delay-ms': whole([0, YEARS_MS, 0], {
    unit: 'ms',
    description: 'a message waits for so long before it can be received, unless the sender says',
  }),
  'retention-ms': whole([1, YEARS_MS, null], {
    unit: 'ms',
    description: 'messages that are older expire; null: never',
  }),
  'retention-from': choice(
    ['arrival', 'sent'],
    'whether the age counts from the arrival here, or from when it was sent to its first queue',
  ),
  'dead-letter-expired': flag(true, 'whether what expires is dead-lettered'),
  'length-max': whole([1, 2 ** 50, null], {
    unit: 'messages',
    description: 'that are ready; null: no limit',
  }),
  'bytes-max': whole([1, 2 ** 50, null], {
    unit: 'bytes',
    description: 'of all its messages; null: no limit',
  }),
  overflow: choice(
    ['reject', 'drop-head', 'dead-letter'],
    'what becomes of a message that comes when the queue is full',
  ),
  priorities: whole([1, 256, 1], { description: 'levels of priority; 1: none' }),
  'priority-default': whole([0, 255, 0], {
    description: 'of a message that says none; 0 is the lowest',
  }),
  order: choice(['none', 'group'], 'group: the messages of a group go one after the other'),
  'single-consumer': flag(false, 'one consumer at a time; the next takes over when it goes'),
  fair: flag(false, 'groups that take more than their share wait for the others'),
  'deduplication-ms': whole([0, YEARS_MS, 0], {
    unit: 'ms',
    description: 'the same message within this time is stored once; 0: every one is',
  }),
  'deduplication-by': choice(
    ['id', 'content'],
    'content: by a hash of it, when the message has no id',
  ),
  'deduplication-scope': choice(['queue', 'group'], 'where ids are told apart'),
  'deliveries-max': whole([1, 1_000_000, null], {
    description: 'a message that comes back after so many is dead-lettered; null: never',
  }),
  'dead-letter-queue': {
    type: 'text',
    bytesMax: NAME_BYTES_MAX,
    default: null,
    role: 'broker',
    description: 'where dead letters go; null: they are dropped',
  },
  'retry-min-ms': whole([0, YEARS_MS, 0], {
    unit: 'ms',
    description: 'a message that failed waits for so long the first time',
  }),
  'retry-max-ms': whole([0, YEARS_MS, 0], { unit: 'ms', description: 'and for so long at most' }),
  'retry-growth': whole([0, 100, 1], {
    description: 'factor from one wait to the next; 0: retry-min-ms more each time',
  }),
  'in-flight-max': whole([1, 2 ** 50, 120_000], {
    unit: 'messages',
    description: 'that are leased at once',
  }),
  dispatch: choice(
    ['round-robin', 'random', 'sticky', 'least-in-flight', 'hash-publisher', 'hash-address'],
    'which consumer gets the next message',
  ),
} as const satisfies Record<string, SettingSchema>

export type QueueSettingName = keyof typeof QUEUE_SETTINGS

/** Every setting with what holds for the queue; null where there is no limit. */
export type QueueConfig = Readonly<Record<QueueSettingName, number | string | boolean | null>>

export interface QueueValue {
  /** Filters; what is published to an address that one of them matches is put into the queue. */
  readonly bindings: readonly string[]
  readonly config: QueueConfig
  /** What each dialect keeps with it for itself, by dialect and name. */
  readonly dialects: Readonly<Record<string, Readonly<Record<string, string>>>>
}

const FIELDS: readonly string[] = ['bindings', 'config', 'dialects']

export function isQueueSetting(name: string): name is QueueSettingName {
  return Object.hasOwn(QUEUE_SETTINGS, name)
}

/** Undefined: the queue may be stored under this name. Else what is wrong with it. */
export function refusalOfQueue(name: string, value: unknown): string | undefined {
  if (!isQueueName(name)) {
    return `a queue's name is a text of up to ${NAME_BYTES_MAX} bytes without control characters`
  }
  if (!isRecord(value)) return 'the value of a queue is an object'
  const unknown = Object.keys(value).find((field) => !FIELDS.includes(field))
  if (unknown !== undefined) return `a queue has no field ${unknown}; it has ${FIELDS.join(', ')}`
  const { bindings = [], config = {}, dialects = {} } = value
  return (
    refusalOfFilters('bindings of a queue', bindings) ??
    refusalOfConfig(config) ??
    refusalOfDialects(dialects)
  )
}

function isQueueName(name: string): boolean {
  if (name === '' || Buffer.byteLength(name) > NAME_BYTES_MAX) return false
  for (let at = 0; at < name.length; at++) if (name.charCodeAt(at) < 0x20) return false
  return true
}

function refusalOfConfig(config: unknown): string | undefined {
  if (!isRecord(config)) return 'config of a queue is an object'
  for (const [name, value] of Object.entries(config)) {
    if (!isQueueSetting(name)) return `a queue has no setting ${name}`
    const schema: SettingSchema = QUEUE_SETTINGS[name]
    if (value === null && schema.default === null) continue
    const refusal = refusalBySchema(name, schema, value)
    if (refusal !== undefined) return refusal
  }
  const deadLetters = config['dead-letter-queue']
  if (typeof deadLetters === 'string' && !isQueueName(deadLetters)) {
    return 'dead-letter-queue is the name of a queue'
  }
  return undefined
}

function refusalOfDialects(dialects: unknown): string | undefined {
  const isTexts = (value: unknown): boolean =>
    isRecord(value) && Object.values(value).every((text) => typeof text === 'string')
  const isGood = isRecord(dialects) && Object.values(dialects).every(isTexts)
  return isGood ? undefined : 'dialects of a queue are texts by dialect and name'
}

/** A stored value with everything that it leaves out. Of what cannot be read the defaults hold. */
export function queueValue(stored: string): QueueValue {
  const value = parseJson(stored)
  const readable = isRecord(value) && refusalOfQueue('x', value) === undefined ? value : {}
  const { bindings = [], config = {}, dialects = {} } = readable as Partial<QueueValue>
  const defaults = Object.entries(QUEUE_SETTINGS).map(([name, schema]) => [name, schema.default])
  return {
    bindings,
    config: { ...(Object.fromEntries(defaults) as QueueConfig), ...config },
    dialects,
  }
}
