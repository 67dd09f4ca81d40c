/**
 * Topics, queues, exchanges, bindings, users, permissions and settings, as the Placement Center last told
 * this broker. Values are JSON.
 */

export interface ResourceName {
  readonly kind: string
  /** Empty for what belongs to the whole cluster. */
  readonly tenant: string
  readonly name: string
}

export interface KnownResource extends ResourceName {
  /** Of what was deleted and made again under the same name it is another one. */
  readonly created: number
  /** Grows with each change; two with the same name and version are the same. */
  readonly version: number
  readonly value: string
}

/** `now` is undefined when it was deleted. */
export type ResourceListener = (name: ResourceName, now: KnownResource | undefined) => void

export interface Resources {
  get(kind: string, tenant: string, name: string): KnownResource | undefined
  /** Of one kind, of one tenant if one is named; in no order. */
  list(kind: string, tenant?: string): Iterable<KnownResource>
  /** Each change of a kind from now on, in order, until the returned function is called. Must not throw. */
  observe(kind: string, listener: ResourceListener): () => void
}
