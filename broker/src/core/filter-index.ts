/**
 * An index of filters (`a/+/c`, `a/#`) that finds the values whose filter matches an address. A trie with
 * the wildcard children kept apart. No ordering among the matches; no knowledge of what the values are.
 */

export type AddResult = 'first' | 'added' | 'replaced'
export type RemoveResult = 'last' | 'removed' | 'absent'

interface Node<T> {
  children: Map<string, Node<T>> | undefined
  /** The `+` child. */
  any: Node<T> | undefined
  /** Values of filters that end here. */
  values: Map<string, T> | undefined
  /** Values of filters that end here with `#`. */
  rest: Map<string, T> | undefined
}

export class FilterIndex<T> {
  #root: Node<T> = emptyNode()
  #size = 0

  /** Number of (filter, key) pairs. */
  get size(): number {
    return this.#size
  }

  /** `first`: no other key had this filter. */
  add(filter: string, key: string, value: T): AddResult {
    const { levels, rest } = parse(filter)
    let node = this.#root
    for (const level of levels) node = childOf(node, level)
    let values = rest ? node.rest : node.values
    if (values === undefined) {
      values = new Map()
      if (rest) node.rest = values
      else node.values = values
    }
    const known = values.has(key)
    const first = values.size === 0
    values.set(key, value)
    if (known) return 'replaced'
    this.#size++
    return first ? 'first' : 'added'
  }

  /** `last`: no key has this filter any more. */
  remove(filter: string, key: string): RemoveResult {
    const { levels, rest } = parse(filter)
    const path: Node<T>[] = [this.#root]
    for (const level of levels) {
      const last = path[path.length - 1] as Node<T>
      const next = level === '+' ? last.any : last.children?.get(level)
      if (next === undefined) return 'absent'
      path.push(next)
    }
    const node = path[path.length - 1] as Node<T>
    const values = rest ? node.rest : node.values
    if (values?.delete(key) !== true) return 'absent'
    this.#size--
    if (values.size > 0) return 'removed'
    if (rest) node.rest = undefined
    else node.values = undefined
    prune(path, levels)
    return 'last'
  }

  get(filter: string, key: string): T | undefined {
    const { levels, rest } = parse(filter)
    let node: Node<T> | undefined = this.#root
    for (const level of levels) {
      node = level === '+' ? node.any : node.children?.get(level)
      if (node === undefined) return undefined
    }
    return (rest ? node.rest : node.values)?.get(key)
  }

  /** Calls `visit` for each value whose filter matches; a key with several matching filters is seen for each. */
  match(address: string, visit: (value: T, key: string) => void): void {
    const levels = address.split('/')
    // Wildcards at the first level leave `$` addresses alone: they are the system's own. [MQTT-4.7.2-1]
    const system = address.startsWith('$')
    walk(this.#root, { levels, system, visit }, 0)
  }

  /** False: nothing here matches any address that begins with the level, which begins with `$`. */
  reaches(level: string): boolean {
    return this.#root.children?.has(level) === true
  }

  clear(): void {
    this.#root = emptyNode()
    this.#size = 0
  }
}

interface Walk<T> {
  readonly levels: readonly string[]
  readonly system: boolean
  readonly visit: (value: T, key: string) => void
}

function walk<T>(node: Node<T>, query: Walk<T>, depth: number): void {
  const wildcards = depth > 0 || !query.system
  // `a/#` matches `a` itself too, so `rest` counts at every depth including the last.
  if (node.rest !== undefined && wildcards) node.rest.forEach(query.visit)
  if (depth === query.levels.length) {
    node.values?.forEach(query.visit)
    return
  }
  const child = node.children?.get(query.levels[depth] as string)
  if (child !== undefined) walk(child, query, depth + 1)
  if (node.any !== undefined && wildcards) walk(node.any, query, depth + 1)
}

/** Whether one filter matches one address; the same rules as the index. */
export function filterMatches(filter: string, address: string): boolean {
  const wanted = filter.split('/')
  const levels = address.split('/')
  if (address.startsWith('$') && (wanted[0] === '+' || wanted[0] === '#')) return false
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i] === '#') return true
    if (i >= levels.length) return false
    if (wanted[i] !== '+' && wanted[i] !== levels[i]) return false
  }
  return wanted.length === levels.length
}

export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#')
}

function emptyNode<T>(): Node<T> {
  return { children: undefined, any: undefined, values: undefined, rest: undefined }
}

function parse(filter: string): { levels: string[]; rest: boolean } {
  const levels = filter.split('/')
  const rest = levels[levels.length - 1] === '#'
  if (rest) levels.pop()
  return { levels, rest }
}

function childOf<T>(node: Node<T>, level: string): Node<T> {
  if (level === '+') {
    node.any ??= emptyNode()
    return node.any
  }
  node.children ??= new Map()
  let child = node.children.get(level)
  if (child === undefined) {
    child = emptyNode()
    node.children.set(level, child)
  }
  return child
}

function prune<T>(path: readonly Node<T>[], levels: readonly string[]): void {
  for (let depth = path.length - 1; depth > 0; depth--) {
    const node = path[depth] as Node<T>
    const used =
      node.values !== undefined ||
      node.rest !== undefined ||
      node.any !== undefined ||
      (node.children !== undefined && node.children.size > 0)
    if (used) return
    const parent = path[depth - 1] as Node<T>
    const level = levels[depth - 1] as string
    if (level === '+') parent.any = undefined
    else parent.children?.delete(level)
  }
}
