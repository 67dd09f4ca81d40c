/** The order of keys: by their UTF-8 bytes, which differs from JavaScript's own order of strings. */

/** Negative, zero or positive, as Buffer.compare of the UTF-8 forms; without encoding them. */
export function compareKeys(left: string, right: string): number {
  if (left === right) return 0
  const shared = Math.min(left.length, right.length)
  for (let index = 0; index < shared; index += 1) {
    const a = left.charCodeAt(index)
    const b = right.charCodeAt(index)
    if (a !== b) return rank(a) - rank(b)
  }
  return left.length - right.length
}

/**
 * The end of the range of all keys with this prefix, for `to` of scan and delete-range. Empty when there
 * is none, which those take as "no upper bound".
 */
export function prefixEnd(prefix: string): string {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0)
  while (points.length > 0) {
    const last = points.pop() ?? 0
    if (last < 0x10ffff) {
      const next = last + 1 >= 0xd800 && last + 1 <= 0xdfff ? 0xe000 : last + 1
      return String.fromCodePoint(...points, next)
    }
  }
  return ''
}

/** UTF-16 units of surrogate pairs sort behind all others, as their code points do. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}
