/** What the members of a group read, by names and by patterns, and how many partitions there are of it now. */
import { ERROR } from '../errors.ts'
import { namePattern } from '../name-pattern.ts'
import { ASSIGNORS } from './assignors.ts'
import type { PartitionsById } from './partition-set.ts'
import type { TopicPartitions } from './subscription.ts'

export interface CataloguedTopic {
  readonly id: string
  readonly name: string
  readonly partitions: number
}

export interface TopicCatalogue {
  /** Another number: topics may have come, gone or grown. */
  readonly revision: number
  get(name: string): CataloguedTopic | undefined
  byId(id: string): CataloguedTopic | undefined
  all(): readonly CataloguedTopic[]
}

interface Reader {
  readonly names: readonly string[]
  readonly pattern: string
  /** Names that its pattern matches though it may not see them. */
  readonly hidden?: readonly string[]
}

export class SubscribedTopics {
  readonly #catalogue: TopicCatalogue
  #revision = -1
  /** Names that each pattern matches. */
  #matched = new Map<string, readonly string[]>()
  #partitions: ReadonlyMap<string, number>

  /** `partitions`: as they were when it was looked last. */
  constructor(catalogue: TopicCatalogue, partitions: ReadonlyMap<string, number>) {
    this.#catalogue = catalogue
    this.#partitions = partitions
  }

  /** By the ids of topics that some member reads. */
  get partitions(): ReadonlyMap<string, number> {
    return this.#partitions
  }

  /** What is wrong with what a member wants; undefined: nothing. */
  refusalOf({ pattern, assignor }: { pattern: string | null; assignor: string | null }) {
    if (assignor !== null && !Object.hasOwn(ASSIGNORS, assignor)) {
      const known = Object.keys(ASSIGNORS).join(', ')
      const errorMessage = `assignor ${assignor} is not known; known are ${known}`
      return { errorCode: ERROR.UNSUPPORTED_ASSIGNOR, errorMessage }
    }
    if (pattern === null || pattern === '' || namePattern(pattern) !== undefined) return undefined
    const errorMessage = `${pattern} is no regular expression of RE2`
    return { errorCode: ERROR.INVALID_REGULAR_EXPRESSION, errorMessage }
  }

  /** Looks again at what there is. False: it is as it was. */
  refresh(members: Iterable<Reader>): boolean {
    const partitions = new Map<string, number>()
    for (const name of this.names(members)) {
      const topic = this.#catalogue.get(name)
      if (topic !== undefined) partitions.set(topic.id, topic.partitions)
    }
    const before = this.#partitions
    this.#partitions = partitions
    if (before.size !== partitions.size) return true
    return [...partitions].some(([id, count]) => before.get(id) !== count)
  }

  /** Of topics, whether they are there or not. */
  names(members: Iterable<Reader>): ReadonlySet<string> {
    const names = new Set<string>()
    for (const member of members) for (const name of this.#namesOf(member)) names.add(name)
    return names
  }

  /** Of those that are there. */
  idsOf(member: Reader): ReadonlySet<string> {
    const ids = new Set<string>()
    for (const name of this.#namesOf(member)) {
      const topic = this.#catalogue.get(name)
      if (topic !== undefined) ids.add(topic.id)
    }
    return ids
  }

  /** Without those that are gone. */
  named(partitions: readonly PartitionsById[]): readonly TopicPartitions[] {
    return partitions.flatMap(({ topicId, partitions: numbers }) => {
      const topic = this.#catalogue.byId(topicId)?.name
      return topic === undefined ? [] : [{ topic, partitions: numbers }]
    })
  }

  /** What the pattern matches and must not be seen. */
  hidden(pattern: string, maySee: (name: string) => boolean): readonly string[] {
    return pattern === '' ? [] : this.#match(pattern).filter((name) => !maySee(name))
  }

  #namesOf({ names, pattern, hidden = [] }: Reader): readonly string[] {
    if (pattern === '') return names
    const matched = this.#match(pattern)
    if (hidden.length === 0) return [...names, ...matched]
    const without = new Set(hidden)
    return [...names, ...matched.filter((name) => !without.has(name))]
  }

  #match(pattern: string): readonly string[] {
    const { revision } = this.#catalogue
    if (revision !== this.#revision) this.#matched = new Map()
    this.#revision = revision
    const known = this.#matched.get(pattern)
    if (known !== undefined) return known
    const matches = namePattern(pattern)
    const names = this.#catalogue.all().map(({ name }) => name)
    const matched = matches === undefined ? [] : names.filter((name) => matches(name))
    this.#matched.set(pattern, matched)
    return matched
  }
}
