/** All topics, found by the addresses that they keep. Soft state: whoever learns of a topic tells. */
import { FilterIndex } from '../filter-index.ts'
import type { LogPolicy } from '../logs/log-policy.ts'
import { type Topic, topicIdOf } from './topic.ts'

export class Topics {
  readonly #byName = new Map<string, Topic>()
  readonly #byId = new Map<string, Topic>()
  readonly #index = new FilterIndex<Topic>(({ id }) => id)
  /** Topics that were deleted: their logs go. */
  readonly #deleted = new Set<string>()
  readonly #onChange: () => void
  /** Grows with every change. */
  revision = 0

  /** `onChange`: what addresses lead to has changed. */
  constructor(onChange: () => void) {
    this.#onChange = onChange
  }

  get(tenant: string, name: string): Topic | undefined {
    return this.#byName.get(nameKey(tenant, name))
  }

  byId(id: string): Topic | undefined {
    return this.#byId.get(id)
  }

  get all(): IterableIterator<Topic> {
    return this.#byName.values()
  }

  /** New, or as it is now. */
  set(topic: Topic): void {
    this.#forget(topic.tenant, topic.name)
    this.#byName.set(nameKey(topic.tenant, topic.name), topic)
    this.#byId.set(topic.id, topic)
    for (const filter of filtersOf(topic)) this.#index.add(filter, topic)
    this.revision++
    this.#onChange()
  }

  remove(tenant: string, name: string): void {
    if (!this.#forget(tenant, name)) return
    this.revision++
    this.#onChange()
  }

  /** Whether the topic with this id was deleted, for certain. */
  markDeleted(id: string, deleted: boolean): void {
    if (deleted) this.#deleted.add(id)
    else this.#deleted.delete(id)
  }

  /** Every topic that keeps what is published to the address, each once. */
  match(address: string): Topic[] {
    if (this.#index.size === 0) return []
    const found = new Set<Topic>()
    this.#index.match(address, (topic) => found.add(topic))
    return [...found]
  }

  /** False: none keeps anything of the system's addresses that begin with the level. */
  reaches(level: string): boolean {
    return this.#index.reaches(level)
  }

  /** Undefined: the log is of no topic that is known here. */
  policyOf(log: string): LogPolicy | undefined {
    const id = topicIdOf(log)
    return id === undefined ? undefined : this.#byId.get(id)?.policy
  }

  /** The topic was deleted, for certain: that it is not known says nothing. */
  isDeleted(log: string): boolean {
    const id = topicIdOf(log)
    return id !== undefined && this.#deleted.has(id) && !this.#byId.has(id)
  }

  #forget(tenant: string, name: string): boolean {
    const topic = this.get(tenant, name)
    if (topic === undefined) return false
    this.#byName.delete(nameKey(tenant, name))
    this.#byId.delete(topic.id)
    for (const filter of filtersOf(topic)) this.#index.remove(filter, topic.id)
    return true
  }
}

function filtersOf(topic: Topic): ReadonlySet<string> {
  return new Set([topic.address, ...topic.capture])
}

/** NUL is in no tenant and no name. */
function nameKey(tenant: string, name: string): string {
  return `${tenant}\0${name}`
}
