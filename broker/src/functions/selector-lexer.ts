/** A selector's text as tokens. */
import { BrokerError } from '../core/errors.ts'

export class SelectorError extends BrokerError {
  /** Position in the text. */
  readonly at: number

  constructor(message: string, at: number) {
    super('REFUSED', `${message} at ${at}`)
    this.name = 'SelectorError'
    this.at = at
  }
}

export type Token =
  | { readonly kind: 'number'; readonly value: number; readonly at: number }
  | { readonly kind: 'text'; readonly value: string; readonly at: number }
  | { readonly kind: 'name'; readonly value: string; readonly at: number }
  /** Upper case. */
  | { readonly kind: 'word'; readonly value: string; readonly at: number }
  | { readonly kind: 'sign'; readonly value: string; readonly at: number }
  | { readonly kind: 'end'; readonly value: ''; readonly at: number }

const WORDS = new Set([
  'AND',
  'OR',
  'NOT',
  'BETWEEN',
  'IN',
  'LIKE',
  'ESCAPE',
  'IS',
  'NULL',
  'TRUE',
  'FALSE',
])
const SPACE = /[\s]+/y
const NUMBER = /(?:0[xX][\da-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[lLfFdD]?/y
const NAME = /[\p{L}_$][\p{L}\p{N}_$.]*/uy
const SIGN = /<>|<=|>=|!=|[=<>()+\-*/,]/y

/** Throws SelectorError. */
export function tokensOf(source: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    return pattern.exec(source)?.[0]
  }
  while (at < source.length) {
    const space = match(SPACE)
    if (space !== undefined) {
      at += space.length
      continue
    }
    const quote = source[at]
    if (quote === "'" || quote === '"') {
      const { value, end } = quoted(source, at, quote)
      tokens.push({ kind: quote === "'" ? 'text' : 'name', value, at })
      at = end
      continue
    }
    const found = scan(match, at)
    if (found === undefined) throw new SelectorError(`unexpected ${source[at]}`, at)
    tokens.push(found.token)
    at += found.length
  }
  tokens.push({ kind: 'end', value: '', at })
  return tokens
}

function scan(
  match: (pattern: RegExp) => string | undefined,
  at: number,
): { token: Token; length: number } | undefined {
  const number = match(NUMBER)
  if (number !== undefined) {
    return { token: { kind: 'number', value: numberOf(number), at }, length: number.length }
  }
  const name = match(NAME)
  if (name !== undefined) {
    const upper = name.toUpperCase()
    const token: Token = WORDS.has(upper)
      ? { kind: 'word', value: upper, at }
      : { kind: 'name', value: name, at }
    return { token, length: name.length }
  }
  const sign = match(SIGN)
  if (sign === undefined) return undefined
  return { token: { kind: 'sign', value: sign === '!=' ? '<>' : sign, at }, length: sign.length }
}

function numberOf(text: string): number {
  return /^0x/i.test(text) ? Number(text.replace(/l$/i, '')) : Number(text.replace(/[lfd]$/i, ''))
}

/** Two quotes inside are one. */
function quoted(source: string, from: number, quote: string): { value: string; end: number } {
  let value = ''
  for (let at = from + 1; ; ) {
    const end = source.indexOf(quote, at)
    if (end < 0) throw new SelectorError('a text without an end', from)
    value += source.slice(at, end)
    if (source[end + 1] !== quote) return { value, end: end + 1 }
    value += quote
    at = end + 2
  }
}
