/**
 * What one client may do. Rules of its user and of everybody (`*`); a rule that denies wins over those that
 * allow, and what no rule allows is denied.
 */
import { isIP } from 'node:net'
import { filterMatches, hasWildcard } from '../core/filter-index.ts'
import { covers, overlaps } from '../core/filter-relations.ts'
import type { ClientPlace } from './enhanced.ts'

/** MQTT and SQS ask for the first two only. */
export type Operation =
  | 'publish'
  | 'subscribe'
  | 'create'
  | 'delete'
  | 'alter'
  | 'describe'
  | 'describe-configs'
  | 'alter-configs'
  | 'cluster-action'
  | 'idempotent-write'

export type Subject = 'address' | 'group' | 'transactional-id' | 'cluster'

export interface Rule {
  readonly action: Operation | 'all'
  /**
   * Of addresses a filter, in which the levels `%u` and `%c` stand for the client's user and id; of others a name, or
   * `*` for all.
   */
  readonly pattern: string
  readonly allow: boolean
  /** Undefined: an address. */
  readonly on?: Subject
  /** Every name that begins with the pattern, which is no filter then. */
  readonly prefix?: boolean
  /** Only clients of this address. */
  readonly host?: string
  /** Only messages or subscriptions of these; undefined: any. */
  readonly qos?: readonly number[]
  /** Only messages that are to be retained, or only others; undefined: any. */
  readonly retain?: boolean
}

/** What is to be published, or how it is to be subscribed to. */
export interface Manner {
  readonly qos: number
  readonly retain: boolean
}

/** Rules as they hold now; another array when they have changed. */
export type RulesOf = (user: string) => readonly Rule[]

/** Decisions kept for each client; past it they are made afresh. */
const DECISIONS_MAX = 256

/** Whoever may do one of these may look, too. */
const IMPLIED: Partial<Record<Operation, readonly Operation[]>> = {
  describe: ['publish', 'subscribe', 'delete', 'alter'],
  'describe-configs': ['alter-configs'],
}

export class Access {
  readonly user: string
  readonly #client: ClientPlace
  readonly #rulesOf: RulesOf
  #rules: readonly Rule[] | undefined
  #mine: readonly Rule[] = []
  #ofAddresses: readonly Rule[] = []
  /** No rule asks for QoS or retain. */
  #isPlain = true
  readonly #decisions = new Map<string, boolean>()

  constructor(user: string, client: ClientPlace, rulesOf: RulesOf) {
    this.user = user
    this.#client = client
    this.#rulesOf = rulesOf
  }

  /** Without `manner`: in any. */
  mayPublish(address: string, manner: Manner = PLAIN): boolean {
    this.#refresh()
    const key = this.#isPlain ? address : `${manner.qos}${manner.retain ? 'r' : ''} ${address}`
    return this.#decided(key, () => {
      const rules = this.#ofAddresses.filter(
        (rule) => isOf(rule, 'publish') && fits(rule, manner) && matches(rule, address),
      )
      return rules.length > 0 && rules.every(({ allow }) => allow)
    })
  }

  /** One rule must allow all that the filter matches, and none deny any of it. */
  maySubscribe(filter: string, qos = 0): boolean {
    this.#refresh()
    const rules = this.#ofAddresses.filter(
      (rule) => isOf(rule, 'subscribe') && (rule.qos?.includes(qos) ?? true),
    )
    const denied = rules.some((rule) => !rule.allow && touches(rule, filter))
    return !denied && rules.some((rule) => rule.allow && coversAll(rule, filter))
  }

  /** With one address, or one of the others by its name; in any manner. */
  may(operation: Operation, on: Subject, name: string): boolean {
    this.#refresh()
    // NUL is in no address, so these are apart from those of mayPublish.
    return this.#decided(`\0${operation} ${on} ${name}`, () => {
      const rules = this.#mine.filter((rule) => subjectOf(rule) === on && matches(rule, name))
      const denied = rules.some((rule) => !rule.allow && isOf(rule, operation))
      const enough = [operation, ...(IMPLIED[operation] ?? [])]
      return !denied && rules.some((rule) => rule.allow && enough.some((one) => isOf(rule, one)))
    })
  }

  /** With any of that kind: one rule allows it, and none denies it for all of them. */
  mayWithAny(operation: Operation, on: Subject): boolean {
    this.#refresh()
    const rules = this.#mine.filter((rule) => subjectOf(rule) === on && isOf(rule, operation))
    return rules.some(({ allow }) => allow) && !rules.some((rule) => !rule.allow && isOfAll(rule))
  }

  #decided(key: string, decide: () => boolean): boolean {
    const known = this.#decisions.get(key)
    if (known !== undefined) return known
    const may = decide()
    if (this.#decisions.size >= DECISIONS_MAX) this.#decisions.clear()
    this.#decisions.set(key, may)
    return may
  }

  #refresh(): void {
    const rules = this.#rulesOf(this.user)
    if (rules === this.#rules) return
    this.#rules = rules
    this.#decisions.clear()
    this.#mine = rules.flatMap((rule) => {
      if (rule.host !== undefined && rule.host !== plain(this.#client.address)) return []
      if (subjectOf(rule) !== 'address') return [rule]
      const pattern = filledIn(rule.pattern, { '%u': this.user, '%c': this.#client.clientId })
      return pattern === undefined ? [] : [{ ...rule, pattern }]
    })
    this.#ofAddresses = this.#mine.filter((rule) => subjectOf(rule) === 'address')
    this.#isPlain = rules.every(({ qos, retain }) => qos === undefined && retain === undefined)
  }
}

const PLAIN: Manner = { qos: 0, retain: false }

/** Whether a rule can be for it. */
export function isHost(text: string): boolean {
  return isIP(text) !== 0
}

function plain(address: string): string {
  return address.replace(/^::ffff:/, '')
}

function subjectOf({ on = 'address' }: Rule): Subject {
  return on
}

function isOf({ action }: Rule, operation: Operation): boolean {
  return action === 'all' || action === operation
}

function isOfAll(rule: Rule): boolean {
  return rule.pattern === (subjectOf(rule) === 'address' ? '#' : '*') && rule.host === undefined
}

function matches(rule: Rule, name: string): boolean {
  const { pattern, prefix = false } = rule
  if (prefix) return name.startsWith(pattern)
  if (subjectOf(rule) === 'address') return filterMatches(pattern, name)
  return pattern === '*' || pattern === name
}

/** Every address that the filter matches is one that the rule is about. */
function coversAll({ pattern, prefix = false }: Rule, filter: string): boolean {
  return prefix ? headOf(filter).startsWith(pattern) : covers(pattern, filter)
}

/** Some address is matched by both, or may be. */
function touches({ pattern, prefix = false }: Rule, filter: string): boolean {
  if (!prefix) return overlaps(pattern, filter)
  const head = headOf(filter)
  return head.startsWith(pattern) || (hasWildcard(filter) && pattern.startsWith(head))
}

/** With it begins whatever the filter matches; `a/#` matches `a` too. */
function headOf(filter: string): string {
  const at = filter.search(/[+#]/)
  if (at < 0) return filter
  return filter[at] === '#' ? filter.slice(0, Math.max(0, at - 1)) : filter.slice(0, at)
}

function fits(rule: Rule, { qos, retain }: Manner): boolean {
  const fitsQos = rule.qos?.includes(qos) ?? true
  const asksRetain = rule.action !== 'subscribe' && rule.retain !== undefined
  return fitsQos && (!asksRetain || rule.retain === retain)
}

/** Undefined: a name that would change what the pattern means fits no pattern. */
function filledIn(pattern: string, names: Readonly<Record<string, string>>): string | undefined {
  const levels: string[] = []
  for (const level of pattern.split('/')) {
    const name = names[level]
    if (name !== undefined && /[/+#]/.test(name)) return undefined
    levels.push(name ?? level)
  }
  return levels.join('/')
}
