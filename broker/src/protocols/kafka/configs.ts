/**
 * Every setting of a topic and of a broker that Kafka's clients ask for: with its value, where that comes from, and
 * what it means. A topic's settings that are obeyed here can be changed. The others have the one value that is true
 * here: who sets them to it, as tools do that read and write them all, is not refused; any other value is.
 */
import type { TopicSettings } from '../../core/topics/topic-logs.ts'

export const CONFIG_TYPE = { boolean: 1, string: 2, int: 3, long: 5, double: 6, list: 7 } as const
export const CONFIG_SOURCE = { topic: 1, staticBroker: 4, usual: 5, group: 8 } as const

type Value = number | string | null

interface Common {
  readonly type: number
  readonly documentation: string
  /** What it is called as a setting of a broker; undefined: it is none. */
  readonly synonym: string | undefined
}

/** One that can be set. */
export interface TopicSetting extends Common {
  /** Its name as a setting of topics. */
  readonly setting: string
  readonly show: (value: Value) => string
  /** What cannot be read is NaN, which no setting can be. */
  readonly read: (text: string) => Value
}

/** One that is what it is. */
interface FixedConfig extends Common {
  readonly value: string
}

export type TopicConfig = TopicSetting | FixedConfig

const LONG_MAX = '9223372036854775807'
const { boolean, string, int, long, double, list } = CONFIG_TYPE

const whole = {
  show: (value: Value) => String(value),
  read: (text: string) => (/^-?\d{1,19}$/.test(text) ? Number(text) : Number.NaN),
}
/** -1, or all that fits, is no limit. */
const limit = {
  show: (value: Value) => (value === null ? '-1' : String(value)),
  read: (text: string) => (text === '-1' || text === LONG_MAX ? null : whole.read(text)),
}
const share = {
  show: (value: Value) => String(Number(value) / 100),
  read: (text: string) => (/^\d(\.\d+)?$/.test(text) ? Math.round(Number(text) * 100) : Number.NaN),
}
const policies = {
  show: (value: Value) => String(value),
  read: (text: string) =>
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '')
      .sort()
      .join(','),
}

const TIMESTAMPS: Readonly<Record<string, string>> = {
  CreateTime: 'producer',
  LogAppendTime: 'broker',
}

function settable(
  [setting, synonym]: readonly [string, string],
  type: number,
  more: Pick<TopicSetting, 'show' | 'read' | 'documentation'>,
): TopicSetting {
  return { setting, synonym, type, ...more }
}

function fixed([value, synonym]: readonly [string, string?], type: number, documentation: string) {
  return { value, synonym, type, documentation }
}

export const TOPIC_CONFIGS: Readonly<Record<string, TopicConfig>> = {
  'cleanup.policy': settable(['cleanup', 'log.cleanup.policy'], list, {
    ...policies,
    documentation: 'Whether old records are deleted, only the newest of each key is kept, or both.',
  }),
  'compression.type': fixed(['producer', 'compression.type'], string, 'Batches stay as they came.'),
  'delete.retention.ms': settable(['tombstone-delay-ms', 'log.cleaner.delete.retention.ms'], long, {
    ...whole,
    documentation: 'How long a key without a value stays after its compaction.',
  }),
  'file.delete.delay.ms': fixed(
    ['0', 'log.segment.delete.delay.ms'],
    long,
    'What is deleted goes with the commit that deletes it.',
  ),
  'flush.messages': fixed(
    ['1', 'log.flush.interval.messages'],
    long,
    'What is acknowledged is as durable as the storage promises.',
  ),
  'flush.ms': fixed(['0', 'log.flush.interval.ms'], long, 'The same.'),
  'follower.replication.throttled.replicas': fixed([''], list, 'Storage keeps the copies.'),
  'index.interval.bytes': fixed(
    ['1', 'log.index.interval.bytes'],
    int,
    'Every batch is found by its offset.',
  ),
  'leader.replication.throttled.replicas': fixed([''], list, 'Storage keeps the copies.'),
  'local.retention.bytes': fixed(['-2', 'log.local.retention.bytes'], long, 'As retention.bytes.'),
  'local.retention.ms': fixed(['-2', 'log.local.retention.ms'], long, 'As retention.ms.'),
  'max.compaction.lag.ms': fixed(
    [LONG_MAX, 'log.cleaner.max.compaction.lag.ms'],
    long,
    'Compaction begins by min.cleanable.dirty.ratio alone.',
  ),
  'max.message.bytes': settable(['batch-bytes-max', 'message.max.bytes'], int, {
    ...whole,
    documentation: 'Largest batch that is taken.',
  }),
  'message.timestamp.after.max.ms': fixed(
    [LONG_MAX, 'log.message.timestamp.after.max.ms'],
    long,
    'Any time is taken.',
  ),
  'message.timestamp.before.max.ms': fixed(
    [LONG_MAX, 'log.message.timestamp.before.max.ms'],
    long,
    'Any time is taken.',
  ),
  'message.timestamp.type': settable(['timestamps', 'log.message.timestamp.type'], string, {
    show: (value) => (value === 'broker' ? 'LogAppendTime' : 'CreateTime'),
    read: (text) => TIMESTAMPS[text] ?? text,
    documentation: 'Whether the time of a record is its producer’s or the broker’s.',
  }),
  'min.cleanable.dirty.ratio': settable(
    ['dirty-percent', 'log.cleaner.min.cleanable.ratio'],
    double,
    { ...share, documentation: 'Compaction begins when this share of what it may touch is new.' },
  ),
  'min.compaction.lag.ms': settable(
    ['compaction-lag-ms', 'log.cleaner.min.compaction.lag.ms'],
    long,
    { ...whole, documentation: 'Records that are younger are not compacted yet.' },
  ),
  'min.insync.replicas': fixed(
    ['1', 'min.insync.replicas'],
    int,
    'A batch is acknowledged when storage has it.',
  ),
  preallocate: fixed(['false', 'log.preallocate'], boolean, 'Nothing is set aside.'),
  'remote.storage.enable': fixed(['false'], boolean, 'There is one storage.'),
  'retention.bytes': settable(['retention-bytes', 'log.retention.bytes'], long, {
    ...limit,
    documentation: 'The oldest records of a partition go while it is larger; -1: no limit.',
  }),
  'retention.ms': settable(['retention-ms', 'log.retention.ms'], long, {
    ...limit,
    documentation: 'Records that are older go; -1: whatever their age.',
  }),
  'segment.bytes': settable(['segment-bytes', 'log.segment.bytes'], int, {
    ...whole,
    documentation: 'What is dropped, compacted and looked up as one piece.',
  }),
  'segment.index.bytes': fixed(
    ['10485760', 'log.index.size.max.bytes'],
    int,
    'Storage keeps the index.',
  ),
  'segment.jitter.ms': fixed(['0', 'log.roll.jitter.ms'], long, 'Pieces end by their own age.'),
  'segment.ms': settable(['segment-ms', 'log.roll.ms'], long, {
    ...whole,
    documentation: 'A piece is closed at this age even if it is small.',
  }),
  'unclean.leader.election.enable': fixed(
    ['false', 'unclean.leader.election.enable'],
    boolean,
    'An owner has all that was acknowledged.',
  ),
}

export interface Synonym {
  readonly name: string
  readonly value: string
  readonly source: number
}

export interface ShownConfig {
  readonly name: string
  readonly value: string
  readonly readOnly: boolean
  readonly isDefault: boolean
  readonly source: number
  readonly isSensitive: boolean
  readonly synonyms: readonly Synonym[]
  readonly type: number
  readonly documentation: string
}

/** All of a topic's, as its settings are given, and as they are where they are not. */
export function topicConfigs(given: TopicSettings, defaults: TopicSettings): ShownConfig[] {
  return Object.entries(TOPIC_CONFIGS).map(([name, config]) => {
    const isFixed = !('setting' in config)
    const usual = isFixed ? config.value : config.show(defaults[config.setting] ?? null)
    const own = isFixed ? undefined : given[config.setting]
    const { usual: usually, topic } = CONFIG_SOURCE
    const fallback = { name: config.synonym ?? name, value: usual, source: usually }
    if (isFixed || own === undefined) {
      return shownConfig([name, usual], config, { readOnly: isFixed, synonyms: [fallback] })
    }
    const value = config.show(own)
    const synonyms = [{ name, value, source: topic }, fallback]
    return shownConfig([name, value], config, { readOnly: false, synonyms })
  })
}

export function shownConfig(
  [name, value]: readonly [string, string],
  { type, documentation }: Pick<Common, 'type' | 'documentation'>,
  { readOnly, synonyms }: Pick<ShownConfig, 'readOnly' | 'synonyms'>,
): ShownConfig {
  const source = synonyms[0]?.source ?? CONFIG_SOURCE.usual
  const isDefault = source === CONFIG_SOURCE.usual
  return {
    name,
    value,
    readOnly,
    isDefault,
    source,
    isSensitive: false,
    synonyms,
    type,
    documentation,
  }
}

/** What a topic's settings become; a text is why they cannot. `value` null: as usual again. */
export function withConfig(
  given: TopicSettings,
  [name, value]: readonly [string, string | null],
): TopicSettings | string {
  const config = Object.hasOwn(TOPIC_CONFIGS, name) ? TOPIC_CONFIGS[name] : undefined
  if (config === undefined) return `there is no setting ${name} here`
  if (!('setting' in config)) {
    return value === null || value === config.value ? given : `${name} is ${config.value} here`
  }
  const { [config.setting]: _, ...others } = given
  return value === null ? others : { ...others, [config.setting]: config.read(value) }
}
