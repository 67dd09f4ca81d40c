/** Quotas of Kafka's clients, as they are kept in the metadata. */
import { editResource, type ResourceChanges } from './cluster/change-resources.ts'
import {
  keyOf,
  type Quota,
  type QuotaEntity,
  type QuotaEntry,
  type QuotaName,
  type QuotaStore,
} from './protocols/kafka/quotas.ts'

const KIND = 'client-quota'

export class PlacedQuotas implements QuotaStore {
  readonly #options: ResourceChanges

  constructor(options: ResourceChanges) {
    this.#options = options
  }

  all(): readonly QuotaEntry[] {
    return Array.from(this.#options.metadata.resources.list(KIND), ({ value }) => {
      const { user, client, ...quota } = JSON.parse(value) as Partial<QuotaEntity> & Quota
      return { entity: { user, client }, quota }
    })
  }

  observe(listener: () => void): void {
    this.#options.metadata.resources.observe(KIND, listener)
  }

  change(entity: QuotaEntity, changes: ReadonlyMap<QuotaName, number | undefined>): Promise<void> {
    const key = { kind: KIND, tenant: '', name: keyOf(entity) }
    return editResource(this.#options, key, (now) => {
      const all = Object.entries({ ...now, ...Object.fromEntries(changes) })
      const limits = all.filter(([name, value]) => value !== undefined && !(name in entity))
      return limits.length === 0 ? undefined : { ...Object.fromEntries(limits), ...entity }
    })
  }
}
