/**
 * Settings of groups, as Kafka's tools set them (KIP-848, KIP-932): of groups whose coordinator assigns partitions, and
 * of share groups. A group need not be there: it finds its settings when it comes. Times hold from a member's next
 * heartbeat on, and for records that are given out from then on.
 */
import { BrokerError } from '../../../core/errors.ts'
import { CONFIG_SOURCE, CONFIG_TYPE, type ShownConfig, shownConfig } from '../configs.ts'
import {
  CONSUMER_HEARTBEAT_MS,
  CONSUMER_SESSION_MS,
  GROUP_NAME_BYTES_MAX,
  SESSION_MS_MAX,
  SESSION_MS_MIN,
  SHARE_LOCK_MS_MAX,
} from '../limits.ts'

/** By the names that Kafka has for them. */
export type GroupConfigValues = Readonly<Record<string, string>>

export interface GroupConfigStore {
  /** What was set, which may be nothing. */
  get(group: string): GroupConfigValues
  /** Groups of which something was set. */
  names(): readonly string[]
  /** `edit` may throw. Rejects with BrokerError UNAVAILABLE: the outcome is unknown. */
  change(group: string, edit: (now: GroupConfigValues) => GroupConfigValues): Promise<void>
}

/** Where nothing was set for a group. */
export interface UsualShares {
  readonly lockMs: () => number
  readonly beginsAtEnd: () => boolean
}

/** Groups whose members heartbeat as they are told. */
export type BeatingKind = 'consumer' | 'share'

interface GroupConfig {
  readonly type: number
  readonly documentation: string
  readonly usual: (shares: UsualShares) => string
  readonly isValid: (text: string) => boolean
}

const HEARTBEAT_MS_MIN = 100

function time(
  [min, max]: readonly [min: number, max: number],
  usual: (shares: UsualShares) => number,
  documentation: string,
): GroupConfig {
  return {
    ...{ type: CONFIG_TYPE.int, documentation },
    usual: (shares) => String(usual(shares)),
    isValid: (text) => /^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max,
  }
}

const HEARTBEATS = [HEARTBEAT_MS_MIN, SESSION_MS_MAX] as const
const SESSIONS = [SESSION_MS_MIN, SESSION_MS_MAX] as const
const heartbeat = time(HEARTBEATS, () => CONSUMER_HEARTBEAT_MS, 'Between two of a member.')
const session = time(SESSIONS, () => CONSUMER_SESSION_MS, 'A member that says nothing goes.')

const CONFIGS: Readonly<Record<string, GroupConfig>> = {
  'consumer.heartbeat.interval.ms': heartbeat,
  'consumer.session.timeout.ms': session,
  'share.auto.offset.reset': {
    type: CONFIG_TYPE.string,
    documentation: 'Where it begins in a partition that is new to it: earliest or latest.',
    usual: ({ beginsAtEnd }) => (beginsAtEnd() ? 'latest' : 'earliest'),
    isValid: (text) => text === 'latest' || text === 'earliest',
  },
  'share.heartbeat.interval.ms': heartbeat,
  'share.record.lock.duration.ms': time(
    [SESSION_MS_MIN, SHARE_LOCK_MS_MAX],
    ({ lockMs }) => lockMs(),
    'How long a record is one member’s before another is given it.',
  ),
  'share.session.timeout.ms': session,
}

export class GroupConfigs {
  readonly #store: GroupConfigStore
  readonly #usual: UsualShares

  constructor(store: GroupConfigStore, usual: UsualShares) {
    this.#store = store
    this.#usual = usual
  }

  sessionMs(kind: BeatingKind, group: string): number {
    return Number(this.#value(`${kind}.session.timeout.ms`, this.#store.get(group)))
  }

  heartbeatMs(kind: BeatingKind, group: string): number {
    return Number(this.#value(`${kind}.heartbeat.interval.ms`, this.#store.get(group)))
  }

  lockMs(group: string): number {
    return Number(this.#value('share.record.lock.duration.ms', this.#store.get(group)))
  }

  beginsAtEnd(group: string): boolean {
    return this.#value('share.auto.offset.reset', this.#store.get(group)) === 'latest'
  }

  /** Groups of which something was set. */
  names(): readonly string[] {
    return this.#store.names()
  }

  given(group: string): GroupConfigValues {
    return this.#store.get(group)
  }

  shown(group: string): ShownConfig[] {
    const given = this.#store.get(group)
    return Object.entries(CONFIGS).map(([name, config]) => {
      const usual = { name, value: config.usual(this.#usual), source: CONFIG_SOURCE.usual }
      const own = given[name]
      const synonyms = own === undefined ? [] : [{ name, value: own, source: CONFIG_SOURCE.group }]
      return shownConfig([name, own ?? usual.value], config, {
        ...{ readOnly: false, synonyms: [...synonyms, usual] },
      })
    })
  }

  /** Rejects with BrokerError: REFUSED, UNAVAILABLE (the outcome is unknown then). */
  async change(
    group: string,
    edit: (now: GroupConfigValues) => GroupConfigValues,
    { validateOnly }: { readonly validateOnly: boolean },
  ): Promise<void> {
    const bytes = Buffer.byteLength(group)
    if (bytes === 0 || bytes > GROUP_NAME_BYTES_MAX) {
      throw new BrokerError('REFUSED', `a group's name has 1 to ${GROUP_NAME_BYTES_MAX} bytes`)
    }
    const checked = (now: GroupConfigValues): GroupConfigValues => {
      const edited = edit(now)
      const wrong = this.#wrongIn(edited)
      if (wrong !== undefined) throw new BrokerError('REFUSED', wrong)
      return edited
    }
    if (validateOnly) checked(this.#store.get(group))
    else await this.#store.change(group, checked)
  }

  #wrongIn(values: GroupConfigValues): string | undefined {
    for (const [name, value] of Object.entries(values)) {
      const config = Object.hasOwn(CONFIGS, name) ? CONFIGS[name] : undefined
      if (config === undefined) return `there is no setting ${name} of groups here`
      if (!config.isValid(value)) return `${name} cannot be ${value}`
    }
    const late = (['consumer', 'share'] as const).find(
      (kind) =>
        Number(this.#value(`${kind}.heartbeat.interval.ms`, values)) >=
        Number(this.#value(`${kind}.session.timeout.ms`, values)),
    )
    return late && `${late}.heartbeat.interval.ms must be below ${late}.session.timeout.ms`
  }

  #value(name: string, values: GroupConfigValues): string {
    return values[name] ?? CONFIGS[name]?.usual(this.#usual) ?? ''
  }
}
