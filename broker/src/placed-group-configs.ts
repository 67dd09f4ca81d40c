/** Settings of Kafka's groups, as they are kept in the metadata. */
import { editResource, type ResourceChanges } from './cluster/change-resources.ts'
import type { GroupConfigStore, GroupConfigValues } from './protocols/kafka/groups/group-configs.ts'

const KIND = 'group-config'
const NOTHING: GroupConfigValues = {}

export class PlacedGroupConfigs implements GroupConfigStore {
  readonly #options: ResourceChanges
  /** As they are read with each request of a member. */
  #known: ReadonlyMap<string, GroupConfigValues> | undefined

  constructor(options: ResourceChanges) {
    this.#options = options
    options.metadata.resources.observe(KIND, () => {
      this.#known = undefined
    })
  }

  get(group: string): GroupConfigValues {
    return this.#all().get(group) ?? NOTHING
  }

  names(): readonly string[] {
    return [...this.#all().keys()]
  }

  change(group: string, edit: (now: GroupConfigValues) => GroupConfigValues): Promise<void> {
    const key = { kind: KIND, tenant: '', name: group }
    return editResource(this.#options, key, (now = {}) => {
      const edited = edit(now as GroupConfigValues)
      return Object.keys(edited).length === 0 ? undefined : edited
    })
  }

  #all(): ReadonlyMap<string, GroupConfigValues> {
    this.#known ??= new Map(
      Array.from(this.#options.metadata.resources.list(KIND), ({ name, value }) => {
        return [name, JSON.parse(value) as GroupConfigValues]
      }),
    )
    return this.#known
  }
}
