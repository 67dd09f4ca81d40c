/** How two filters relate: `a/#` covers `a/+/c`, and `a/+` overlaps `+/b`. The rules of `filter-index.ts`. */

/** Every address that the filter matches is one that the pattern matches. */
export function covers(pattern: string, filter: string): boolean {
  if (isShy(pattern, filter)) return false
  const wanted = pattern.split('/')
  const levels = filter.split('/')
  for (const [at, level] of wanted.entries()) {
    if (level === '#') return true
    const other = levels[at]
    if (other === undefined || other === '#') return false
    if (level !== '+' && level !== other) return false
  }
  return levels.length === wanted.length
}

/** Some address is matched by both. */
export function overlaps(one: string, other: string): boolean {
  if (isShy(one, other) || isShy(other, one)) return false
  const left = one.split('/')
  const right = other.split('/')
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const a = left[at]
    const b = right[at]
    if (a === '#' || b === '#') return true
    if (a === undefined || b === undefined) return false
    if (a !== '+' && b !== '+' && a !== b) return false
  }
  return true
}

/** A wildcard at the first level leaves the system's own addresses alone. [MQTT-4.7.2-1] */
function isShy(pattern: string, filter: string): boolean {
  return filter.startsWith('$') && (pattern.startsWith('+') || pattern.startsWith('#'))
}
