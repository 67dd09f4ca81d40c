/**
 * Which messages a receiver wants: selectors, the subset of SQL-92 that JMS defines (Jakarta Messaging 3.1, section
 * 3.8.1), and lists of tags. Parsed once; size, depth and the time to evaluate are bounded.
 *
 * Logic has three values: a property that is absent makes what compares it unknown, and only what is true matches.
 */
import { SelectorError, type Token, tokensOf } from './selector-lexer.ts'

/** A property that came as text and may stand for a number or a truth value, as its dialect has no types. */
export class Untyped {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

export type SelectorValue = string | number | boolean | Untyped | undefined

export type Properties = (name: string) => SelectorValue

export type Selector = (properties: Properties) => boolean

type Evaluate = (properties: Properties) => SelectorValue

const CHARACTERS_MAX = 4_096
const DEPTH_MAX = 64
const LIST_MAX = 256

/** Throws SelectorError. An empty text matches everything. */
export function compileSelector(source: string): Selector {
  if (source.length > CHARACTERS_MAX) {
    throw new SelectorError(`a selector has at most ${CHARACTERS_MAX} characters`, CHARACTERS_MAX)
  }
  if (source.trim() === '') return () => true
  const evaluate = new Parser(tokensOf(source)).parse()
  return (properties) => truth(evaluate(properties)) === true
}

/** RocketMQ's: `a || b`; `*` or nothing matches everything. `tag`: of the message. */
export function compileTags(source: string): (tag: string | undefined) => boolean {
  const tags = new Set(
    source
      .split('||')
      .map((tag) => tag.trim())
      .filter((tag) => tag !== ''),
  )
  if (tags.size === 0 || tags.has('*')) return () => true
  return (tag) => tag !== undefined && tags.has(tag)
}

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0
  #depth = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  parse(): Evaluate {
    const whole = this.#or()
    if (this.#peek.kind !== 'end') throw this.#unexpected()
    return whole
  }

  get #peek(): Token {
    return this.#tokens[this.#at] as Token
  }

  #take(): Token {
    return this.#tokens[this.#at++] as Token
  }

  #accept(kind: Token['kind'], ...values: string[]): string | undefined {
    const { kind: found, value } = this.#peek
    if (found !== kind || !values.includes(String(value))) return undefined
    this.#at++
    return String(value)
  }

  #expect(kind: 'sign' | 'word', value: string): void {
    if (this.#accept(kind, value) === undefined) throw this.#unexpected()
  }

  #unexpected(): SelectorError {
    const { value, at, kind } = this.#peek
    return new SelectorError(kind === 'end' ? 'it ends too early' : `unexpected ${value}`, at)
  }

  #nested<T>(parse: () => T): T {
    this.#depth++
    if (this.#depth > DEPTH_MAX) throw new SelectorError('too deep', this.#peek.at)
    const parsed = parse()
    this.#depth--
    return parsed
  }

  #or(): Evaluate {
    const parts = [this.#and()]
    while (this.#accept('word', 'OR')) parts.push(this.#and())
    const [first] = parts
    if (parts.length === 1 && first !== undefined) return first
    return (properties) => {
      let result: boolean | undefined = false
      for (const part of parts) {
        const value = truth(part(properties))
        if (value === true) return true
        if (value === undefined) result = undefined
      }
      return result
    }
  }

  #and(): Evaluate {
    const parts = [this.#not()]
    while (this.#accept('word', 'AND')) parts.push(this.#not())
    const [first] = parts
    if (parts.length === 1 && first !== undefined) return first
    return (properties) => {
      let result: boolean | undefined = true
      for (const part of parts) {
        const value = truth(part(properties))
        if (value === false) return false
        if (value === undefined) result = undefined
      }
      return result
    }
  }

  #not(): Evaluate {
    if (!this.#accept('word', 'NOT')) return this.#predicate()
    const part = this.#nested(() => this.#not())
    return (properties) => not(truth(part(properties)))
  }

  #predicate(): Evaluate {
    const left = this.#sum()
    const sign = this.#accept('sign', '=', '<>', '<', '<=', '>', '>=')
    if (sign !== undefined) {
      const right = this.#sum()
      return (properties) => compare(sign, left(properties), right(properties))
    }
    if (this.#accept('word', 'IS')) {
      const negated = this.#accept('word', 'NOT') !== undefined
      this.#expect('word', 'NULL')
      return (properties) => (left(properties) === undefined) !== negated
    }
    const negated = this.#accept('word', 'NOT') !== undefined
    const positive = this.#range(left)
    if (positive === undefined) {
      if (negated) throw this.#unexpected()
      return left
    }
    return negated ? (properties) => not(truth(positive(properties))) : positive
  }

  #range(left: Evaluate): Evaluate | undefined {
    if (this.#accept('word', 'BETWEEN')) {
      const low = this.#sum()
      this.#expect('word', 'AND')
      const high = this.#sum()
      return (properties) => {
        const value = left(properties)
        const above = compare('>=', value, low(properties))
        const below = compare('<=', value, high(properties))
        if (above === false || below === false) return false
        return above === undefined || below === undefined ? undefined : true
      }
    }
    if (this.#accept('word', 'IN')) return this.#in(left)
    return this.#accept('word', 'LIKE') ? this.#like(left) : undefined
  }

  #in(left: Evaluate): Evaluate {
    this.#expect('sign', '(')
    const list: (string | number | boolean)[] = []
    do {
      const { kind, value, at } = this.#take()
      if (kind !== 'text' && kind !== 'number') throw new SelectorError('IN takes literals', at)
      list.push(value)
      if (list.length > LIST_MAX) throw new SelectorError(`IN takes at most ${LIST_MAX}`, at)
    } while (this.#accept('sign', ','))
    this.#expect('sign', ')')
    return (properties) => {
      const value = left(properties)
      if (value === undefined) return undefined
      return list.some((each) => compare('=', value, each) === true)
    }
  }

  #like(left: Evaluate): Evaluate {
    const pattern = this.#text()
    const escapeBy = this.#accept('word', 'ESCAPE') ? this.#text() : undefined
    if (escapeBy !== undefined && [...escapeBy].length !== 1) {
      throw new SelectorError('ESCAPE takes one character', this.#peek.at)
    }
    const parts = likeParts(pattern, escapeBy)
    return (properties) => {
      const value = left(properties)
      const text = value instanceof Untyped ? value.text : value
      return typeof text === 'string' ? isLike([...text], parts) : undefined
    }
  }

  #text(): string {
    const { kind, value, at } = this.#take()
    if (kind !== 'text') throw new SelectorError('a text is expected', at)
    return value
  }

  #sum(): Evaluate {
    let left = this.#product()
    for (let sign = this.#accept('sign', '+', '-'); sign; sign = this.#accept('sign', '+', '-')) {
      left = arithmetic(sign, left, this.#product())
    }
    return left
  }

  #product(): Evaluate {
    let left = this.#factor()
    for (let sign = this.#accept('sign', '*', '/'); sign; sign = this.#accept('sign', '*', '/')) {
      left = arithmetic(sign, left, this.#factor())
    }
    return left
  }

  #factor(): Evaluate {
    const sign = this.#accept('sign', '+', '-')
    if (sign === undefined) return this.#primary()
    const value = this.#nested(() => this.#factor())
    return (properties) => {
      const number = numeric(value(properties))
      return number === undefined || sign === '+' ? number : -number
    }
  }

  #primary(): Evaluate {
    const token = this.#take()
    const { kind, value, at } = token
    if (kind === 'number' || kind === 'text') return () => value
    if (kind === 'name') return (properties) => properties(value)
    if (kind === 'word' && (value === 'TRUE' || value === 'FALSE')) return () => value === 'TRUE'
    if (kind === 'sign' && value === '(') {
      const inner = this.#nested(() => this.#or())
      this.#expect('sign', ')')
      return inner
    }
    throw new SelectorError(kind === 'end' ? 'it ends too early' : `unexpected ${value}`, at)
  }
}

function truth(value: SelectorValue): boolean | undefined {
  if (typeof value === 'boolean') return value
  if (!(value instanceof Untyped)) return undefined
  const text = value.text.toLowerCase()
  return text === 'true' ? true : text === 'false' ? false : undefined
}

function not(value: boolean | undefined): boolean | undefined {
  return value === undefined ? undefined : !value
}

function numeric(value: SelectorValue): number | undefined {
  if (typeof value === 'number') return value
  if (!(value instanceof Untyped) || value.text.trim() === '') return undefined
  const number = Number(value.text)
  return Number.isNaN(number) ? undefined : number
}

/** Values of different kinds are neither equal nor unequal in order: JMS has that as false. */
function compare(sign: string, a: SelectorValue, b: SelectorValue): boolean | undefined {
  if (a === undefined || b === undefined) return undefined
  if (typeof a === 'number' || typeof b === 'number') {
    const [left, right] = [numeric(a), numeric(b)]
    if (left === undefined || right === undefined) return false
    return ordered(sign, left - right)
  }
  if (typeof a === 'boolean' || typeof b === 'boolean') {
    const [left, right] = [truth(a), truth(b)]
    if (left === undefined || right === undefined) return false
    return sign === '=' ? left === right : sign === '<>' ? left !== right : false
  }
  const [left, right] = [a, b].map((each) => (each instanceof Untyped ? each.text : each))
  if (sign === '=') return left === right
  if (sign === '<>') return left !== right
  // Texts have no order in JMS; numbers that came as texts have.
  const [low, high] = [numeric(a), numeric(b)]
  return low === undefined || high === undefined ? false : ordered(sign, low - high)
}

function ordered(sign: string, difference: number): boolean {
  switch (sign) {
    case '=':
      return difference === 0
    case '<>':
      return difference !== 0
    case '<':
      return difference < 0
    case '<=':
      return difference <= 0
    case '>':
      return difference > 0
    default:
      return difference >= 0
  }
}

function arithmetic(sign: string, left: Evaluate, right: Evaluate): Evaluate {
  return (properties) => {
    const [a, b] = [numeric(left(properties)), numeric(right(properties))]
    if (a === undefined || b === undefined) return undefined
    if (sign === '+') return a + b
    if (sign === '-') return a - b
    return sign === '*' ? a * b : a / b
  }
}

/** A character, `ONE` for any one, `MANY` for any number of them. */
type LikePart = string | typeof ONE | typeof MANY
const ONE = Symbol('_')
const MANY = Symbol('%')

function likeParts(pattern: string, escapeBy: string | undefined): LikePart[] {
  const parts: LikePart[] = []
  let isEscaped = false
  for (const character of pattern) {
    if (!isEscaped && character === escapeBy) {
      isEscaped = true
      continue
    }
    if (!isEscaped && character === '%') {
      if (parts[parts.length - 1] !== MANY) parts.push(MANY)
    } else parts.push(!isEscaped && character === '_' ? ONE : character)
    isEscaped = false
  }
  return parts
}

/** Goes back to the last `%` only, so that the time is bounded by the product of the lengths. */
function isLike(text: readonly string[], parts: readonly LikePart[]): boolean {
  let at = 0
  let part = 0
  let many = -1
  let resume = 0
  while (at < text.length) {
    const expected = parts[part]
    if (expected === MANY) {
      many = part++
      resume = at
    } else if (part < parts.length && (expected === ONE || expected === text[at])) {
      at++
      part++
    } else if (many >= 0) {
      part = many + 1
      at = ++resume
    } else return false
  }
  while (parts[part] === MANY) part++
  return part === parts.length
}
