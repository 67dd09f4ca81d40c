/** What the values of topics and queues have in common. */

export function parseJson(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Wildcards, and NUL, which separates parts of keys. */
export function hasReserved(text: string): boolean {
  return text.includes('#') || text.includes('+') || text.includes('\0')
}

/** Undefined: it is a list of filters. Else what is wrong with it. */
export function refusalOfFilters(what: string, filters: unknown): string | undefined {
  if (!Array.isArray(filters)) return `${what} is a list of texts`
  for (const filter of filters) {
    if (typeof filter !== 'string') return `${what} is a list of texts`
    if (!isFilter(filter)) return `${JSON.stringify(filter)} is no filter`
  }
  return undefined
}

function isFilter(filter: string): boolean {
  if (filter === '') return false
  const levels = filter.split('/')
  return levels.every((level, at) => {
    if (level === '#') return at === levels.length - 1
    return level === '+' || !hasReserved(level)
  })
}
