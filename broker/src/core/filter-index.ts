/**
 * An index of filters (`a/+/c`, `a/#`) that finds the values whose filter matches an address. A trie with the
 * wildcard children kept apart; what has only one filter below it is kept as that filter, not as nodes, since most
 * filters of a large broker share only their beginning. No ordering among the matches; no knowledge of what the values
 * are, but for the key of each.
 */

export type AddResult = 'first' | 'added' | 'replaced'
export type RemoveResult = 'last' | 'removed' | 'absent'

/** One value as it is, several by their keys. */
type Values<T> = T | Map<string, T>

interface Node<T> {
  children: Map<string, Child<T>> | undefined
  /** The `+` child. */
  any: Child<T> | undefined
  /** Values of filters that end here. */
  values: Values<T> | undefined
  /** Values of filters that end here with `#`. */
  rest: Values<T> | undefined
}

/** The only filter below its place, of which the levels from `at` on, an index into it, are not in the trie. */
class Leaf<T> {
  readonly filter: string
  readonly at: number
  values: Values<T>

  constructor(filter: string, at: number, values: Values<T>) {
    this.filter = filter
    this.at = at
    this.values = values
  }
}

type Child<T> = Node<T> | Leaf<T>

/** Where a child hangs. */
interface Place<T> {
  readonly node: Node<T>
  readonly level: string
}

export class FilterIndex<T> {
  readonly #root: Node<T> = emptyNode()
  #size = 0
  readonly #keyOf: (value: T) => string

  /** `keyOf`: two values of one filter are the same when their keys are. A value is no Map and not undefined. */
  constructor(keyOf: (value: T) => string) {
    this.#keyOf = keyOf
  }

  /** Number of (filter, key) pairs. */
  get size(): number {
    return this.#size
  }

  /** `first`: no other key had this filter. */
  add(filter: string, value: T): AddResult {
    let node = this.#root
    let at = 0
    for (;;) {
      const level = levelAt(filter, at)
      if (level === undefined) return this.#addTo(node, 'values', value)
      if (level === '#') return this.#addTo(node, 'rest', value)
      at += level.length + 1
      const child = childOf(node, level)
      if (child === undefined) {
        setChild({ node, level }, new Leaf<T>(filter, at, value))
        this.#size++
        return 'first'
      }
      if (child instanceof Leaf) {
        if (child.filter === filter) return this.#put(child, 'values', value)
        node = split({ node, level }, child)
      } else node = child
    }
  }

  /** `last`: no key has this filter any more. */
  remove(filter: string, key: string): RemoveResult {
    const path: Place<T>[] = []
    const holder = this.#find(filter, path)
    if (holder === undefined) return 'absent'
    const { of, field } = holder
    const values = (of as Node<T>)[field]
    if (values === undefined || this.#valueOf(values, key) === undefined) return 'absent'
    this.#size--
    if (values instanceof Map && values.size > 1) {
      values.delete(key)
      return 'removed'
    }
    if (of instanceof Leaf) setChild(path.pop() as Place<T>, undefined)
    else of[field] = undefined
    prune(path)
    return 'last'
  }

  get(filter: string, key: string): T | undefined {
    const holder = this.#find(filter, [])
    const values = holder && (holder.of as Node<T>)[holder.field]
    return values === undefined ? undefined : this.#valueOf(values, key)
  }

  /** Calls `visit` for each value whose filter matches; a value with several matching filters is seen for each. */
  match(address: string, visit: (value: T) => void): void {
    if (this.#size === 0) return
    walk(this.#root, { address, visit })
  }

  /** False: nothing here matches any address that begins with the level, which begins with `$`. */
  reaches(level: string): boolean {
    return this.#root.children?.has(level) === true
  }

  /** Each filter that has a value, once. */
  filters(): string[] {
    return collect(this.#root)
  }

  /** `path`: gets every place on the way, the holder's own last. */
  #find(
    filter: string,
    path: Place<T>[],
  ): { readonly of: Child<T>; readonly field: 'values' | 'rest' } | undefined {
    let node = this.#root
    for (let at = 0; ; ) {
      const level = levelAt(filter, at)
      if (level === undefined) return { of: node, field: 'values' }
      if (level === '#') return { of: node, field: 'rest' }
      const child = childOf(node, level)
      if (child === undefined) return undefined
      path.push({ node, level })
      if (child instanceof Leaf) {
        return child.filter === filter ? { of: child, field: 'values' } : undefined
      }
      node = child
      at += level.length + 1
    }
  }

  #valueOf(values: Values<T>, key: string): T | undefined {
    if (values instanceof Map) return values.get(key)
    return this.#keyOf(values) === key ? values : undefined
  }

  #addTo(node: Node<T>, field: 'values' | 'rest', value: T): AddResult {
    if (node[field] !== undefined) return this.#put(node, field, value)
    node[field] = value
    this.#size++
    return 'first'
  }

  /** There is a value already. */
  #put(of: Child<T>, field: 'values' | 'rest', value: T): AddResult {
    const holder = of as Node<T>
    const known = holder[field] as Values<T>
    const key = this.#keyOf(value)
    const isKnown = this.#valueOf(known, key) !== undefined
    if (known instanceof Map) known.set(key, value)
    else if (isKnown) holder[field] = value
    else {
      holder[field] = new Map([
        [this.#keyOf(known), known],
        [key, value],
      ])
    }
    if (isKnown) return 'replaced'
    this.#size++
    return 'added'
  }
}

interface Query<T> {
  readonly address: string
  readonly visit: (value: T) => void
}

/** No recursion: an address may have more levels than the stack has room for. */
function walk<T>(root: Node<T>, query: Query<T>): void {
  // Wildcards at the first level leave `$` addresses alone: they are the system's own. [MQTT-4.7.2-1]
  let wildcards = !query.address.startsWith('$')
  let node: Node<T> | undefined = root
  /** Where the level begins that is looked at; behind the end when there is none left. */
  let at = 0
  /** `+` children that are looked at later. */
  const later: { readonly node: Node<T>; readonly at: number }[] = []
  while (node !== undefined) {
    // `a/#` matches `a` itself too, so `rest` counts at every depth including the last.
    if (node.rest !== undefined && wildcards) visitAll(node.rest, query)
    const level = levelAt(query.address, at)
    let next: Node<T> | undefined
    if (level === undefined) {
      if (node.values !== undefined) visitAll(node.values, query)
    } else {
      at += level.length + 1
      next = entered(node.children?.get(level), query, at)
      const any = wildcards ? entered(node.any, query, at) : undefined
      if (any !== undefined) later.push({ node: any, at })
    }
    wildcards = true
    if (next === undefined) {
      const other = later.pop()
      next = other?.node
      at = other?.at ?? at
    }
    node = next
  }
}

/** The node that is to be looked at; of a leaf the values are visited. */
function entered<T>(child: Child<T> | undefined, query: Query<T>, at: number): Node<T> | undefined {
  if (!(child instanceof Leaf)) return child
  if (restMatches(child, query.address, at)) visitAll(child.values, query)
  return undefined
}

function visitAll<T>(values: Values<T>, { visit }: Query<T>): void {
  if (values instanceof Map) for (const value of values.values()) visit(value)
  else visit(values)
}

/** The level that begins there; undefined behind the last one. */
function levelAt(text: string, at: number): string | undefined {
  if (at > text.length) return undefined
  const end = text.indexOf('/', at)
  return end < 0 ? text.slice(at) : text.slice(at, end)
}

const PLUS = 0x2b
const HASH = 0x23
const SLASH = 0x2f

/** Whether what is left of the leaf's filter matches what is left of the address. */
function restMatches<T>({ filter, at }: Leaf<T>, address: string, from: number): boolean {
  let i = at
  let j = from
  while (i <= filter.length) {
    const code = filter.charCodeAt(i)
    if (code === HASH) return true
    if (j > address.length) return false
    if (code === PLUS) {
      const end = address.indexOf('/', j)
      i += 2
      j = (end < 0 ? address.length : end) + 1
      continue
    }
    // Level by level: both end together, or they differ.
    for (;;) {
      const ours = i < filter.length ? filter.charCodeAt(i) : SLASH
      const theirs = j < address.length ? address.charCodeAt(j) : SLASH
      if (ours !== theirs) return false
      i++
      j++
      if (ours === SLASH) break
    }
  }
  return j > address.length
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

function childOf<T>(node: Node<T>, level: string): Child<T> | undefined {
  return level === '+' ? node.any : node.children?.get(level)
}

function setChild<T>({ node, level }: Place<T>, child: Child<T> | undefined): void {
  if (level === '+') node.any = child
  else if (child === undefined) node.children?.delete(level)
  else {
    node.children ??= new Map()
    node.children.set(level, child)
  }
}

/** There is a second filter: the leaf moves one level down, into a node in its place. */
function split<T>(place: Place<T>, { filter, at, values }: Leaf<T>): Node<T> {
  const node = emptyNode<T>()
  const level = levelAt(filter, at)
  if (level === undefined) node.values = values
  else if (level === '#') node.rest = values
  else setChild({ node, level }, new Leaf(filter, at + level.length + 1, values))
  setChild(place, node)
  return node
}

/** Nodes that lead nowhere any more go. */
function prune<T>(path: Place<T>[]): void {
  for (let place = path.pop(); place !== undefined; place = path.pop()) {
    const node = childOf(place.node, place.level)
    if (node === undefined || node instanceof Leaf) continue
    const isUsed =
      node.values !== undefined ||
      node.rest !== undefined ||
      node.any !== undefined ||
      (node.children !== undefined && node.children.size > 0)
    if (isUsed) return
    setChild(place, undefined)
  }
}

function collect<T>(root: Node<T>): string[] {
  const found: string[] = []
  /** `prefix`: the levels above, each with its slash. */
  const waiting: { readonly child: Child<T>; readonly prefix: string }[] = [
    { child: root, prefix: '' },
  ]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { child, prefix } = next
    if (child instanceof Leaf) {
      found.push(child.filter)
      continue
    }
    if (child.values !== undefined) found.push(prefix.slice(0, -1))
    if (child.rest !== undefined) found.push(`${prefix}#`)
    if (child.any !== undefined) waiting.push({ child: child.any, prefix: `${prefix}+/` })
    for (const [level, below] of child.children ?? []) {
      waiting.push({ child: below, prefix: `${prefix}${level}/` })
    }
  }
  return found
}
