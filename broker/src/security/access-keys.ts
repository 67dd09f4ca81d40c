/**
 * Access keys: by them requests are signed, so what checks a signature must have the secret itself, not a hash of it.
 * They are resources of the metadata, and no listing tells the secret.
 */
import type { Resources } from '../core/ports/resources.ts'

export const ACCESS_KEY = 'access-key'

export interface AccessKey {
  readonly user: string
  readonly secret: string
  /** Whose queues the user means when it names no account. */
  readonly account: string | undefined
}

export class AccessKeys {
  readonly #resources: Resources
  readonly #known = new Map<string, { readonly version: number; readonly key: AccessKey }>()

  constructor(resources: Resources) {
    this.#resources = resources
    resources.observe(ACCESS_KEY, ({ name }) => this.#known.delete(name))
  }

  find(id: string): AccessKey | undefined {
    const resource = this.#resources.get(ACCESS_KEY, '', id)
    if (resource === undefined) return undefined
    const known = this.#known.get(id)
    if (known?.version === resource.version) return known.key
    const { user, secret, account } = JSON.parse(resource.value) as Partial<AccessKey>
    if (typeof user !== 'string' || typeof secret !== 'string') return undefined
    const key = { user, secret, account }
    this.#known.set(id, { version: resource.version, key })
    return key
  }
}
