/**
 * Topics as they are kept in the metadata: one table of what can be set for a topic, for who checks it
 * (Placement Center), who sets it (command line) and who obeys it (brokers).
 */
import { refusalBySchema, type SettingSchema } from './settings.ts'
import { hasReserved, isRecord, parseJson, refusalOfFilters } from './stored-value.ts'

const DAY_MS = 86_400_000
const YEARS_MS = 100 * 365 * DAY_MS
const MEBIBYTE = 1024 ** 2

function whole(
  [min, max, fallback]: readonly [number, number, number | null],
  about: { readonly unit: string; readonly description: string },
): SettingSchema {
  return { type: 'integer', min, max, default: fallback, role: 'broker', ...about }
}

export const TOPIC_SETTINGS = {
  cleanup: {
    type: 'choice',
    choices: ['delete', 'compact', 'compact,delete'],
    default: 'delete',
    role: 'broker',
    description: 'whether old records are deleted, only the newest of each key is kept, or both',
  },
  'retention-ms': whole([1, YEARS_MS, 7 * DAY_MS], {
    unit: 'ms',
    description: 'records that are older go, with cleanup delete; null: whatever their age',
  }),
  'retention-bytes': whole([1, 2 ** 50, null], {
    unit: 'bytes',
    description: 'of a partition; the oldest records go, with cleanup delete; null: no limit',
  }),
  'tombstone-delay-ms': whole([0, YEARS_MS, DAY_MS], {
    unit: 'ms',
    description: 'a key without a value stays this long after its first compaction',
  }),
  'compaction-lag-ms': whole([0, YEARS_MS, 0], {
    unit: 'ms',
    description: 'records that are younger are not compacted yet',
  }),
  'dirty-percent': whole([0, 100, 50], {
    unit: '%',
    description: 'compaction begins when this share of what it may touch is new',
  }),
  'batch-bytes-max': whole([1_024, 8 * MEBIBYTE, 1_048_588], {
    unit: 'bytes',
    description: 'of one batch of a producer; a larger one is refused',
  }),
  'segment-bytes': whole([1_024, 64 * MEBIBYTE, 4 * MEBIBYTE], {
    unit: 'bytes',
    description: 'what is dropped, compacted and looked up as one piece',
  }),
  'segment-ms': whole([1_000, YEARS_MS, 7 * DAY_MS], {
    unit: 'ms',
    description: 'a piece is closed at this age even if it is small',
  }),
  timestamps: {
    type: 'choice',
    choices: ['producer', 'broker'],
    default: 'producer',
    role: 'broker',
    description:
      'whose time the records of Kafka producers have: their own, or when they were appended',
  },
} as const satisfies Record<string, SettingSchema>

export type TopicSettingName = keyof typeof TOPIC_SETTINGS

/** Every setting with what holds for the topic; null where there is no limit. */
export type TopicConfig = Readonly<Record<TopicSettingName, number | string | null>>

export interface TopicValue {
  readonly partitions: number
  /** Filters; what is published to an address that one of them matches is kept too. */
  readonly capture: readonly string[]
  readonly config: TopicConfig
}

const PARTITIONS_MAX = 10_000
const NAME_BYTES_MAX = 1_024
const FIELDS: readonly string[] = ['partitions', 'capture', 'config']

export function isTopicSetting(name: string): name is TopicSettingName {
  return Object.hasOwn(TOPIC_SETTINGS, name)
}

/** Undefined: the topic may be stored under this name. Else what is wrong with it. */
export function refusalOfTopic(name: string, value: unknown): string | undefined {
  if (name === '' || hasReserved(name) || Buffer.byteLength(name) > NAME_BYTES_MAX) {
    return `a topic's name is an address of up to ${NAME_BYTES_MAX} bytes without #, + and NUL`
  }
  if (!isRecord(value)) return 'the value of a topic is an object'
  const unknown = Object.keys(value).find((field) => !FIELDS.includes(field))
  if (unknown !== undefined) return `a topic has no field ${unknown}; it has ${FIELDS.join(', ')}`
  const { partitions = 1, capture = [], config = {} } = value
  const count = Number(partitions)
  if (!Number.isInteger(partitions) || count < 1 || count > PARTITIONS_MAX) {
    return `partitions of a topic is a whole number from 1 to ${PARTITIONS_MAX}`
  }
  const refusal = refusalOfFilters('capture of a topic', capture)
  if (refusal !== undefined) return refusal
  return isRecord(config) ? refusalOfConfig(config) : 'config of a topic is an object'
}

function refusalOfConfig(config: Readonly<Record<string, unknown>>): string | undefined {
  for (const [name, value] of Object.entries(config)) {
    if (!isTopicSetting(name)) return `a topic has no setting ${name}`
    const schema: SettingSchema = TOPIC_SETTINGS[name]
    if (value === null && name.startsWith('retention-')) continue
    const refusal = refusalBySchema(name, schema, value)
    if (refusal !== undefined) return refusal
  }
  return undefined
}

/** A stored value with everything that it leaves out. Of what cannot be read the defaults hold. */
export function topicValue(stored: string): TopicValue {
  const value = parseJson(stored)
  const readable = isRecord(value) && refusalOfTopic('x', value) === undefined ? value : {}
  const { partitions = 1, capture = [], config = {} } = readable as Partial<TopicValue>
  const defaults = Object.entries(TOPIC_SETTINGS).map(([name, schema]) => [name, schema.default])
  return {
    partitions,
    capture,
    config: { ...(Object.fromEntries(defaults) as TopicConfig), ...config },
  }
}
