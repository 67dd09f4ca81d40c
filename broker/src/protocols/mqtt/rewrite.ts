/**
 * Topic rewrite: what clients call a topic, and what it is called here. Rules are tried in the order of their
 * names and the first that fits counts. Wildcards of a rule's filter capture, `$1` to `$9` in its target stand for what
 * they caught, `%c` and `%u` for the client's id and user. No regular expressions, so no rule can take long.
 */

export interface RewriteRule {
  readonly action: 'publish' | 'subscribe' | 'all'
  readonly filter: string
  readonly target: string
}

export interface ClientNames {
  readonly clientId: string
  readonly user: string
}

/** Topics whose new names are kept for one client. */
const KNOWN_MAX = 256
const TOPIC_BYTES_MAX = 65_535

const NO_RULES: readonly RewriteRule[] = []

export class Rewriter {
  readonly #rulesNow: () => readonly RewriteRule[]
  readonly #names: ClientNames
  #rules: readonly RewriteRule[] = NO_RULES
  #mine: readonly RewriteRule[] = NO_RULES
  #known: Map<string, string> | undefined

  /** `rulesNow`: another array when they have changed. */
  constructor(rulesNow: () => readonly RewriteRule[], names: ClientNames) {
    this.#rulesNow = rulesNow
    this.#names = names
  }

  /** The address that a topic of a PUBLISH, or of a will, stands for. */
  topic(topic: string): string {
    if (!this.#refresh()) return topic
    this.#known ??= new Map()
    const known = this.#known.get(topic)
    if (known !== undefined) return known
    const address = this.#rewritten(topic, 'publish') ?? topic
    if (this.#known.size >= KNOWN_MAX) this.#known.clear()
    this.#known.set(topic, address)
    return address
  }

  /** Of a shared or exclusive subscription the filter within is rewritten. */
  filter(filter: string): string {
    if (!this.#refresh()) return filter
    const prefix = /^(?:\$share\/[^/]+\/|\$exclusive\/)/.exec(filter)?.[0] ?? ''
    const inner = filter.slice(prefix.length)
    return prefix + (this.#rewritten(inner, 'subscribe') ?? inner)
  }

  /** False: there is no rule. */
  #refresh(): boolean {
    const rules = this.#rulesNow()
    if (rules !== this.#rules) {
      this.#rules = rules
      this.#known = undefined
      this.#mine = rules.map((rule) => ({ ...rule, filter: this.#filled(rule.filter) }))
    }
    return rules.length > 0
  }

  #rewritten(text: string, action: 'publish' | 'subscribe'): string | undefined {
    const isUsable = action === 'publish' ? isTopic : isFilter
    for (const rule of this.#mine) {
      if (rule.action !== 'all' && rule.action !== action) continue
      const caught = captures(rule.filter, text)
      if (caught === undefined) continue
      const target = this.#filled(rule.target)
      const made = target.replace(/\$([1-9])/g, (_, n: string) => caught[Number(n) - 1] ?? '')
      return isUsable(made) ? made : undefined
    }
    return undefined
  }

  #filled(text: string): string {
    return text.replaceAll('%c', this.#names.clientId).replaceAll('%u', this.#names.user)
  }
}

/** What the wildcards of the filter stand for in the text; undefined: it does not fit. */
function captures(filter: string, text: string): readonly string[] | undefined {
  const wanted = filter.split('/')
  const levels = text.split('/')
  const caught: string[] = []
  for (const [at, level] of wanted.entries()) {
    if (level === '#') {
      caught.push(levels.slice(at).join('/'))
      return at === 0 && text.startsWith('$') ? undefined : caught
    }
    const other = levels[at]
    if (other === undefined || (other === '#' && level !== '#')) return undefined
    if (level !== '+' && level !== other) return undefined
    if (level === '+') caught.push(other)
  }
  return wanted.length === levels.length ? caught : undefined
}

function isTopic(text: string): boolean {
  return isText(text) && !/[+#]/.test(text)
}

export function isFilter(text: string): boolean {
  const levels = text.split('/')
  return (
    isText(text) &&
    levels.every((level, at) =>
      level === '#' ? at === levels.length - 1 : level === '+' || !/[+#]/.test(level),
    )
  )
}

function isText(text: string): boolean {
  return text !== '' && !text.includes('\0') && Buffer.byteLength(text) <= TOPIC_BYTES_MAX
}
