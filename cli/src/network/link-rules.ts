/** What is wrong with the links between nodes: which rule holds from one node to another. Pure. */

/** `*` is every node, and what is no node of the cluster (a command line) is `outside`: it is never disturbed. */
export interface LinkRule {
  readonly from: string
  readonly to: string
  /** Nothing arrives while this is so; connections stay open, and what was sent arrives afterwards. */
  readonly cut: boolean
  readonly delayMs: number
  /** Added at random, evenly from 0 to this. */
  readonly jitterMs: number
  /** Of 100 pieces, how many TCP would have to send again. */
  readonly lossPercent: number
}

export const ANY = '*'
export const OUTSIDE = 'outside'

/** What TCP waits at least before it sends again what was lost (RTO of Linux). */
export const RETRANSMIT_MS = 200

export const NO_RULE: LinkRule = {
  from: ANY,
  to: ANY,
  cut: false,
  delayMs: 0,
  jitterMs: 0,
  lossPercent: 0,
}

/** All that holds from one node to another, joined: cut if any rule cuts, times and losses added. */
export function ruleFor(rules: readonly LinkRule[], from: string, to: string): LinkRule {
  if (from === OUTSIDE || to === OUTSIDE) return NO_RULE
  const isMeant = (pattern: string, name: string): boolean => pattern === ANY || pattern === name
  return rules
    .filter((rule) => isMeant(rule.from, from) && isMeant(rule.to, to))
    .reduce(
      (sum, rule) => ({
        from,
        to,
        cut: sum.cut || rule.cut,
        delayMs: sum.delayMs + rule.delayMs,
        jitterMs: sum.jitterMs + rule.jitterMs,
        lossPercent: Math.min(100, sum.lossPercent + rule.lossPercent),
      }),
      NO_RULE,
    )
}

/** How long a piece is on its way, ms. `random`: from 0 to below 1. */
export function delayOf(rule: LinkRule, random: () => number): number {
  const jitter = rule.jitterMs === 0 ? 0 : random() * rule.jitterMs
  let lost = 0
  // Lost again and again has an end: a link that loses everything is a cut.
  while (rule.lossPercent > 0 && lost < 5 && random() * 100 < rule.lossPercent) lost++
  return rule.delayMs + jitter + (lost === 0 ? 0 : RETRANSMIT_MS * 2 ** (lost - 1))
}

/** @throws TypeError that says what is wrong. */
export function parseRules(value: unknown): readonly LinkRule[] {
  if (!Array.isArray(value)) throw new TypeError('rules are a list')
  return value.map((each: unknown) => {
    const { from, to, cut = false, ...rest } = each as Record<string, unknown>
    if (typeof from !== 'string' || typeof to !== 'string' || typeof cut !== 'boolean') {
      throw new TypeError('a rule has from, to and perhaps cut')
    }
    const amount = (name: string, max: number): number => {
      const amount = rest[name] ?? 0
      if (typeof amount === 'number' && amount >= 0 && amount <= max) return amount
      throw new TypeError(`${name} is a number from 0 to ${max}`)
    }
    return {
      ...{ from, to, cut },
      delayMs: amount('delayMs', 60_000),
      jitterMs: amount('jitterMs', 60_000),
      lossPercent: amount('lossPercent', 100),
    }
  })
}
