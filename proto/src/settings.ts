/**
 * Settings that can be changed at run time: one table for who checks them (Placement Center), who sets them
 * (command line) and who obeys them (both and brokers). A value is JSON. `null` as a default says that the
 * process's own flag, or no limit, holds until the setting is set.
 */

import { KAFKA_SETTINGS } from './kafka-settings.ts'
import { LIMIT_SETTINGS } from './limit-settings.ts'
import { MQTT_SETTINGS } from './mqtt-settings.ts'
import { SECURITY_SETTINGS } from './security-settings.ts'
import { integer, type SettingSchema } from './setting-schema.ts'
import { parseJson } from './stored-value.ts'

export type { SettingSchema }

const DAY_SECONDS = 86_400
const GIBIBYTE = 1024 ** 3

export const SETTINGS = {
  'assignment.moves-max': integer('placement', [1, 1_024, 8], {
    unit: 'shards',
    description: 'shards that are between two owners at once, for balance or a drain',
  }),
  'drain.deadline-seconds': integer('placement', [1, DAY_SECONDS, 30], {
    unit: 's',
    description: 'a drain that names no deadline: after it shards are taken and clients closed',
  }),
  ...KAFKA_SETTINGS,
  ...LIMIT_SETTINGS,
  'log.level': {
    type: 'choice',
    choices: ['debug', 'info', 'warn', 'error'],
    default: null,
    role: 'both',
    description: 'what brokers and Placement Center nodes log; unset: --log-level',
  },
  ...MQTT_SETTINGS,
  'offsets.retention-seconds': integer('broker', [60, 315_360_000, 7 * DAY_SECONDS], {
    unit: 's',
    description:
      'that what a group of Kafka consumers has committed is kept when it has no members, or does not read the topic any more',
  }),
  'overload.after-ms': integer('placement', [0, 3_600_000, 10_000], {
    unit: 'ms',
    description: 'how long a threshold must be passed, and afterwards not, before anything is done',
  }),
  'overload.accept-per-second': integer('placement', [0, 100_000, 0], {
    unit: 'connections/s',
    description: 'that a throttled broker lets in nevertheless',
  }),
  'overload.close-others': {
    type: 'boolean',
    default: true,
    role: 'placement',
    description:
      'clients whose protocol cannot be told another server are closed when clients are moved',
  },
  'overload.connections': integer('placement', [0, 10_000_000, 0], {
    unit: 'connections',
    description: 'a broker with more is overloaded; 0: never for that',
  }),
  'overload.enabled': {
    type: 'boolean',
    default: true,
    role: 'placement',
    description: 'whether overloaded brokers refuse new connections and give up clients',
  },
  'overload.lift-percent': integer('placement', [1, 100, 70], {
    unit: '% of the threshold',
    description: 'below which a broker is not overloaded any more',
  }),
  'overload.loop-delay-ms': integer('placement', [0, 60_000, 500], {
    unit: 'ms',
    description: 'a broker whose event loop is later on average is overloaded; 0: never for that',
  }),
  'overload.memory-bytes': integer('placement', [0, 1024 * GIBIBYTE, 3 * GIBIBYTE], {
    unit: 'bytes',
    description: 'a broker whose process has more in memory is overloaded; 0: never for that',
  }),
  'overload.shed-interval-ms': integer('placement', [100, 3_600_000, 10_000], {
    unit: 'ms',
    description: 'between two times that an overloaded broker is told to give up clients',
  }),
  'overload.shed-per-second': integer('placement', [0, 1_000_000, 200], {
    unit: 'clients/s',
    description: 'that are moved, also by a drain; 0: all at once',
  }),
  'overload.shed-percent': integer('placement', [0, 100, 10], {
    unit: '% of its clients',
    description: 'that an overloaded broker gives up each time; 0: none',
  }),
  'placement.autopilot-dead-ms': integer('placement', [3_000, 86_400_000, 600_000], {
    unit: 'ms',
    description: 'a Placement Center node that is silent for so long is dead',
  }),
  'placement.autopilot-promote': {
    type: 'boolean',
    default: true,
    role: 'placement',
    description: 'whether a Placement Center node that was added gets its vote by itself',
  },
  'placement.autopilot-remove': {
    type: 'boolean',
    default: false,
    role: 'placement',
    description:
      'whether dead Placement Center nodes are removed by themselves, while a majority is healthy',
  },
  'placement.autopilot-stable-ms': integer('placement', [0, 3_600_000, 10_000], {
    unit: 'ms',
    description: 'how long such a node must be healthy without a break before it votes',
  }),
  'placement.autopilot-voters-min': integer('placement', [1, 99, 3], {
    unit: 'nodes',
    description: 'that go on voting at least when a dead one is removed',
  }),
  'rebalance.band-percent': integer('placement', [5, 1_000, 50], {
    unit: '%',
    description: 'a broker is hot when its load is above the mean of all by more than this',
  }),
  'rebalance.enabled': {
    type: 'boolean',
    default: true,
    role: 'placement',
    description: 'whether shards move away from hot brokers',
  },
  'rebalance.messages-min': integer('placement', [0, 10_000_000, 1_000], {
    unit: 'messages/s',
    description: 'a broker with less, in and out, is never hot',
  }),
  'rebalance.moves-per-minute': integer('placement', [0, 600, 6], {
    unit: 'shards/min',
    description: 'that move for load at most',
  }),
  'rebalance.reports': integer('placement', [1, 1_000, 6], {
    unit: 'reports',
    description: 'in a row that must show a broker as hot before shards move',
  }),
  ...SECURITY_SETTINGS,
  'share.deliveries-max': integer('broker', [1, 100, 5], {
    unit: 'deliveries',
    description: 'of a record to members of a Kafka share group; after as many it is given up',
  }),
  'share.lock-seconds': integer('broker', [1, 900, 30], {
    unit: 's',
    description:
      'for which a record is one member of a Kafka share group alone, unless it asks for more',
  }),
  'share.offset-reset': {
    type: 'choice',
    choices: ['latest', 'earliest'],
    default: 'latest',
    role: 'broker',
    description: 'where a new Kafka share group begins to read a partition',
  },
} as const satisfies Record<string, SettingSchema>

export type SettingName = keyof typeof SETTINGS

/** The value of a setting, as code gets it. */
export type SettingValue<N extends SettingName> = (typeof SETTINGS)[N] extends {
  readonly type: 'boolean'
}
  ? boolean
  : (typeof SETTINGS)[N] extends { readonly type: 'choice' | 'text' }
    ? string | null
    : null extends (typeof SETTINGS)[N]['default']
      ? number | null
      : number

export function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(SETTINGS, name)
}

/** Undefined: the value may be set. Else what is wrong with it. */
export function refusalOfSetting(name: string, value: unknown): string | undefined {
  if (!isSettingName(name)) return `there is no setting ${name}`
  return refusalBySchema(name, SETTINGS[name], value)
}

export function refusalBySchema(
  name: string,
  schema: SettingSchema,
  value: unknown,
): string | undefined {
  switch (schema.type) {
    case 'boolean':
      return typeof value === 'boolean' ? undefined : `${name} is true or false`
    case 'choice': {
      const isChoice = typeof value === 'string' && schema.choices.includes(value)
      return isChoice ? undefined : `${name} is one of ${schema.choices.join(', ')}`
    }
    case 'text': {
      const isText =
        typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= schema.bytesMax
      if (!isText) return `${name} is a text of up to ${schema.bytesMax} bytes`
      const isBad = schema.isTopic === true && /[+#\0]|^\$|^\/|\/$/.test(value)
      return isBad
        ? `${name} is a topic without wildcards, not below $ and without / at an end`
        : undefined
    }
    case 'integer': {
      const { min, max } = schema
      const isIn = Number.isInteger(value) && Number(value) >= min && Number(value) <= max
      return isIn ? undefined : `${name} is a whole number from ${min} to ${max}`
    }
    default:
      return schema satisfies never
  }
}

/** What holds, given what is stored as JSON; what cannot be read counts as not set. */
export function settingValue<N extends SettingName>(
  name: N,
  stored: string | undefined,
): SettingValue<N> {
  const value = stored === undefined ? undefined : parseJson(stored)
  const isUsable = value !== undefined && refusalOfSetting(name, value) === undefined
  return (isUsable ? value : SETTINGS[name].default) as SettingValue<N>
}

/** The value as people may see it: a password in a URL is not for them. */
export function shownSetting(value: unknown): unknown {
  return typeof value === 'string' ? withoutPasswords(value) : value
}

/** The text with the passwords of its URLs hidden. */
export function withoutPasswords(text: string): string {
  return text
    .replaceAll(/([a-z][a-z+.-]*:\/\/[^\s:@/?#"]*):[^\s/?#"]*@/gi, '$1:***@')
    .replaceAll(/([?&][a-z-]*password=)[^\s&#"]*/gi, '$1***')
}

/** A value as people write it: JSON, or a bare word. */
export function parseSettingText(text: string): unknown {
  return parseJson(text) ?? text
}
