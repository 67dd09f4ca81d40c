/**
 * What one client may do. Rules of its user and of everybody (`*`); a rule that denies wins over those that
 * allow, and what no rule allows is denied.
 */
import { filterMatches } from '../core/filter-index.ts'
import { covers, overlaps } from '../core/filter-relations.ts'
import type { ClientPlace } from './enhanced.ts'

export type Action = 'publish' | 'subscribe'

export interface Rule {
  readonly action: Action | 'all'
  /** A filter; the levels `%u` and `%c` stand for the client's user and id. */
  readonly pattern: string
  readonly allow: boolean
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

export class Access {
  readonly user: string
  readonly #client: ClientPlace
  readonly #rulesOf: RulesOf
  #rules: readonly Rule[] | undefined
  #mine: readonly Rule[] = []
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
    const known = this.#decisions.get(key)
    if (known !== undefined) return known
    const rules = this.#mine.filter(
      (rule) =>
        rule.action !== 'subscribe' && fits(rule, manner) && filterMatches(rule.pattern, address),
    )
    const may = rules.length > 0 && rules.every(({ allow }) => allow)
    if (this.#decisions.size >= DECISIONS_MAX) this.#decisions.clear()
    this.#decisions.set(key, may)
    return may
  }

  /** One rule must allow all that the filter matches, and none deny any of it. */
  maySubscribe(filter: string, qos = 0): boolean {
    this.#refresh()
    const rules = this.#mine.filter(
      (rule) => rule.action !== 'publish' && (rule.qos?.includes(qos) ?? true),
    )
    const denied = rules.some(({ allow, pattern }) => !allow && overlaps(pattern, filter))
    return !denied && rules.some(({ allow, pattern }) => allow && covers(pattern, filter))
  }

  #refresh(): void {
    const rules = this.#rulesOf(this.user)
    if (rules === this.#rules) return
    this.#rules = rules
    this.#decisions.clear()
    this.#mine = rules.flatMap((rule) => {
      const pattern = filledIn(rule.pattern, { '%u': this.user, '%c': this.#client.clientId })
      return pattern === undefined ? [] : [{ ...rule, pattern }]
    })
    this.#isPlain = rules.every(({ qos, retain }) => qos === undefined && retain === undefined)
  }
}

const PLAIN: Manner = { qos: 0, retain: false }

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
