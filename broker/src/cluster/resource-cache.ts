/**
 * The resources of the metadata: changes as they come, and whole loads in pages. While a load is under way
 * the old ones hold; its end takes away what it did not name, so that nothing seems to be gone in between.
 */
import type { placement } from '@robust/proto'
import type {
  KnownResource,
  ResourceListener,
  ResourceName,
  Resources,
} from '../core/ports/resources.ts'

export class ResourceCache implements Resources {
  readonly #kinds = new Map<string, Map<string, KnownResource>>()
  readonly #listeners = new Map<string, Set<ResourceListener>>()
  /** What a load that is under way has named so far, by kind and key. */
  #named: Map<string, Set<string>> | undefined

  /** A load has begun and not ended. */
  get isLoading(): boolean {
    return this.#named !== undefined
  }

  get(kind: string, tenant: string, name: string): KnownResource | undefined {
    return this.#kinds.get(kind)?.get(keyOf(tenant, name))
  }

  *list(kind: string, tenant?: string): Iterable<KnownResource> {
    for (const resource of this.#kinds.get(kind)?.values() ?? []) {
      if (tenant === undefined || resource.tenant === tenant) yield resource
    }
  }

  observe(kind: string, listener: ResourceListener): () => void {
    const listeners = this.#listeners.get(kind) ?? new Set()
    this.#listeners.set(kind, listeners)
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  beginLoad(): void {
    this.#named = new Map()
  }

  page({ resources, last }: placement.ResourcePage): void {
    for (const resource of resources) this.#put(resource)
    if (last) this.#endLoad()
  }

  apply(changed: readonly KnownResource[], removed: readonly ResourceName[]): void {
    for (const resource of changed) this.#put(resource)
    for (const name of removed) {
      this.#named?.get(name.kind)?.delete(keyOf(name.tenant, name.name))
      this.#remove(name)
    }
  }

  #put(resource: KnownResource): void {
    const { kind, tenant, name, version } = resource
    const key = keyOf(tenant, name)
    if (this.#named !== undefined) entryOf(this.#named, kind, () => new Set<string>()).add(key)
    const table = entryOf(this.#kinds, kind, () => new Map<string, KnownResource>())
    if (table.get(key)?.version === version) return
    table.set(key, resource)
    this.#tell(resource, resource)
  }

  #remove({ kind, tenant, name }: ResourceName): void {
    if (this.#kinds.get(kind)?.delete(keyOf(tenant, name)) !== true) return
    this.#tell({ kind, tenant, name }, undefined)
  }

  #endLoad(): void {
    const named = this.#named
    this.#named = undefined
    for (const [kind, table] of this.#kinds) {
      for (const [key, resource] of table) {
        if (named?.get(kind)?.has(key) !== true) this.#remove(resource)
      }
    }
  }

  #tell(name: ResourceName, now: KnownResource | undefined): void {
    for (const listener of this.#listeners.get(name.kind) ?? []) listener(name, now)
  }
}

function keyOf(tenant: string, name: string): string {
  return `${tenant}\u0000${name}`
}

function entryOf<V>(map: Map<string, V>, key: string, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}
