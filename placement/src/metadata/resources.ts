/**
 * Everything that is kept by name: topics, queues, exchanges, bindings, users, permissions, settings. One
 * table of JSON texts; a change names the version that it was decided on. What a value means is no matter
 * here: it is checked before it is proposed, since members of two versions of this program must apply the
 * same command alike.
 */

import { Digest } from './digest.ts'

export const RESOURCE_KINDS = [
  'topic',
  'queue',
  'exchange',
  'binding',
  'user',
  'permission',
  'setting',
  'deleted-topic',
  'auto-subscription',
  'topic-rewrite',
  'ban',
  'deleted-queue',
  'bridge',
  'access-key',
  'client-quota',
  'group-config',
] as const

export type ResourceKind = (typeof RESOURCE_KINDS)[number]

export interface ResourceKey {
  readonly kind: ResourceKind
  /** Empty for what belongs to the whole cluster. */
  readonly tenant: string
  readonly name: string
}

export interface Resource extends ResourceKey {
  /** Revision at which it came to be: what is deleted and made again under its name is another one. */
  readonly created: number
  /** Revision of its last change. */
  readonly version: number
  /** JSON. */
  readonly value: string
}

export interface ResourceChange extends ResourceKey {
  /** Null: delete. */
  readonly value: string | null
  /** 0: it must not exist. Null: whatever is there. */
  readonly expectedVersion: number | null
}

export interface ResourceVersion {
  readonly version: number
  readonly timeMs: number
  /** Null: it was deleted. */
  readonly value: string | null
  readonly by: string
}

/** Versions of a setting that are kept. */
export const HISTORY_MAX = 20

export class ResourceTable {
  readonly #digest = new Digest()
  readonly #kinds = new Map<ResourceKind, Map<string, Resource>>()
  /** Of each kind, in order, for pages. Made when it is first asked for. */
  readonly #sorted = new Map<ResourceKind, string[]>()
  readonly #history = new Map<string, readonly ResourceVersion[]>()

  /** The same for the same resources, however they came to be here. */
  get digest(): string {
    return this.#digest.text
  }

  get size(): number {
    let size = 0
    for (const table of this.#kinds.values()) size += table.size
    return size
  }

  count(kind: ResourceKind): number {
    return this.#kinds.get(kind)?.size ?? 0
  }

  get({ kind, tenant, name }: ResourceKey): Resource | undefined {
    return this.#kinds.get(kind)?.get(keyOf(tenant, name))
  }

  /** In no order. An iteration that lasts sees what is added behind its place. */
  *all(): Generator<Resource> {
    for (const kind of RESOURCE_KINDS) yield* this.#kinds.get(kind)?.values() ?? []
  }

  /** As it is now: one array for each kind, made as fast as can be. */
  frozen(): readonly (readonly Resource[])[] {
    return RESOURCE_KINDS.map((kind) => Array.from(this.#kinds.get(kind)?.values() ?? []))
  }

  /** In order of tenant and name: those whose key begins with a prefix and comes after another key. */
  page(kind: ResourceKind, asked: PageOptions): readonly Resource[] {
    const { prefix, after, limit } = asked
    const table = this.#kinds.get(kind)
    if (table === undefined) return []
    const keys = this.#sortedKeys(kind, table)
    const found: Resource[] = []
    let at = after === '' ? lowerBound(keys, prefix) : upperBound(keys, after)
    for (; at < keys.length && found.length < limit; at += 1) {
      const key = keys[at] as string
      if (!key.startsWith(prefix)) break
      found.push(table.get(key) as Resource)
    }
    return found
  }

  put(resource: Resource): void {
    const { kind, tenant, name } = resource
    let table = this.#kinds.get(kind)
    if (table === undefined) {
      table = new Map()
      this.#kinds.set(kind, table)
    }
    const key = keyOf(tenant, name)
    const before = table.get(key)
    const keys = this.#sorted.get(kind)
    if (keys !== undefined && before === undefined) keys.splice(lowerBound(keys, key), 0, key)
    if (before !== undefined) this.#digest.remove(entryOf(before))
    this.#digest.add(entryOf(resource))
    table.set(key, resource)
  }

  delete({ kind, tenant, name }: ResourceKey): boolean {
    const key = keyOf(tenant, name)
    const before = this.#kinds.get(kind)?.get(key)
    if (before === undefined) return false
    this.#digest.remove(entryOf(before))
    this.#kinds.get(kind)?.delete(key)
    const keys = this.#sorted.get(kind)
    keys?.splice(lowerBound(keys, key), 1)
    return true
  }

  /** Oldest first. */
  history(setting: string): readonly ResourceVersion[] {
    return this.#history.get(setting) ?? []
  }

  get histories(): ReadonlyMap<string, readonly ResourceVersion[]> {
    return this.#history
  }

  remember(setting: string, versions: readonly ResourceVersion[]): void {
    const kept = [...this.history(setting), ...versions].slice(-HISTORY_MAX)
    this.#history.set(setting, kept)
  }

  #sortedKeys(kind: ResourceKind, table: ReadonlyMap<string, Resource>): string[] {
    let keys = this.#sorted.get(kind)
    if (keys === undefined) {
      keys = [...table.keys()].sort()
      this.#sorted.set(kind, keys)
    }
    return keys
  }
}

export interface PageOptions {
  /** Of the key that `keyOf` makes. */
  readonly prefix: string
  /** The last key of the page before; empty for the first. */
  readonly after: string
  readonly limit: number
}

function entryOf({ kind, tenant, name, created, version, value }: Resource): string {
  return `${kind}\u0000${keyOf(tenant, name)}\u0000${created} ${version} ${value}`
}

/** Tenants and names have no control characters. */
export function keyOf(tenant: string, name: string): string {
  return `${tenant}\u0000${name}`
}

/** The first change whose expected version does not hold, with the version that is there. */
export function conflictOf(
  table: ResourceTable,
  changes: readonly ResourceChange[],
): { readonly key: ResourceKey; readonly version: number } | undefined {
  for (const change of changes) {
    const version = table.get(change)?.version ?? 0
    if (change.expectedVersion === null || change.expectedVersion === version) continue
    const { kind, tenant, name } = change
    return { key: { kind, tenant, name }, version }
  }
  return undefined
}

function lowerBound(keys: readonly string[], key: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((keys[middle] as string) < key) low = middle + 1
    else high = middle
  }
  return low
}

function upperBound(keys: readonly string[], key: string): number {
  const at = lowerBound(keys, key)
  return keys[at] === key ? at + 1 : at
}
