/**
 * Topics for dialects that write and read partitions by themselves, at the broker that owns each: what there is,
 * who owns what, and the partitions that are served here. Batches are opaque but for their headers.
 */
import type { HostedShard, HostedShards } from '../hosted-shard.ts'
import type { Clock } from '../ports/clock.ts'
import type { Directory, ShardOwner } from '../ports/directory.ts'
import type { StoragePressure } from '../storage-pressure.ts'
import { ServedPartition } from './served-partition.ts'
import { partitionOf, type Topic } from './topic.ts'
import type { Topics } from './topics.ts'

export type { AppendFault, ServedPartition, VerifyTransaction } from './served-partition.ts'
export type { Topic } from './topic.ts'

export interface NewTopic {
  readonly name: string
  readonly partitions: number
  /** By the names of topic settings; what is not given is as usual. */
  readonly config: TopicSettings
}

export type TopicSettings = Readonly<Record<string, number | string | null>>

export interface TopicShape {
  readonly partitions: number
  /** Settings that were given. */
  readonly config: TopicSettings
}

/** Where topics are kept. Rejects with BrokerError: REFUSED, UNAVAILABLE (the outcome is unknown then). */
export interface TopicDefinitions {
  /** What is wrong with it; undefined: nothing. */
  refusal(topic: NewTopic): string | undefined
  /** Resolves when it is known everywhere. False: there is one of that name. */
  create(topic: NewTopic, tenant: string): Promise<boolean>
  /** False: there is none, or it changes just now. */
  remove(name: string, tenant: string): Promise<boolean>
  /** What holds for a topic that is given no settings. */
  readonly defaults: TopicSettings
  /** Undefined: there is none. */
  shape(name: string, tenant: string): TopicShape | undefined
  /** `edit` may throw. Resolves when it is known everywhere. Rejects with NOT_FOUND, too. */
  alter(name: string, tenant: string, edit: (now: TopicShape) => TopicShape): Promise<void>
}

export interface TopicLogsOptions {
  readonly topics: Topics
  readonly directory: Directory
  readonly hosted: HostedShards
  readonly definitions: TopicDefinitions
  readonly pressure: StoragePressure
  readonly clock: Clock
  /** This broker is certainly a member: what it owns nobody else does. */
  readonly isMember: () => boolean
}

const TENANT = 'default'

export class TopicLogs {
  readonly #options: TopicLogsOptions

  constructor(options: TopicLogsOptions) {
    this.#options = options
  }

  /** Grows when a topic comes, changes or goes. */
  get revision(): number {
    return this.#options.topics.revision
  }

  all(): readonly Topic[] {
    return [...this.#options.topics.all].filter(({ tenant }) => tenant === TENANT)
  }

  get(name: string): Topic | undefined {
    return this.#options.topics.get(TENANT, name)
  }

  byId(id: string): Topic | undefined {
    const topic = this.#options.topics.byId(id)
    return topic?.tenant === TENANT ? topic : undefined
  }

  refusal(topic: NewTopic): string | undefined {
    return this.#options.definitions.refusal(topic)
  }

  /** False: there is one of that name. Rejects with BrokerError: REFUSED, UNAVAILABLE. */
  create(topic: NewTopic): Promise<boolean> {
    return this.#options.definitions.create(topic, TENANT)
  }

  /** False: there is none, or it changes just now. Rejects with BrokerError UNAVAILABLE. */
  remove(name: string): Promise<boolean> {
    return this.#options.definitions.remove(name, TENANT)
  }

  get defaults(): TopicSettings {
    return this.#options.definitions.defaults
  }

  /** Undefined: there is none. */
  shape(name: string): TopicShape | undefined {
    return this.#options.definitions.shape(name, TENANT)
  }

  /** `edit` may throw. Rejects with BrokerError: REFUSED, NOT_FOUND, UNAVAILABLE. */
  alter(name: string, edit: (now: TopicShape) => TopicShape): Promise<void> {
    return this.#options.definitions.alter(name, TENANT, edit)
  }

  owner(topic: Topic, partition: number): ShardOwner | undefined {
    const { directory } = this.#options
    return directory.owner(partitionOf(topic, partition, directory.shardCount).shard)
  }

  /** Undefined: it is not served here (now). Rejects with a StorageError. */
  async serve(topic: Topic, partition: number): Promise<ServedPartition | undefined> {
    const { topics, directory, pressure, clock } = this.#options
    const { shard, log } = partitionOf(topic, partition, directory.shardCount)
    const hosted = this.#hosted(shard)
    if (hosted === undefined) return undefined
    const opened = await hosted.logs.open(log)
    const isServed = () => this.#hosted(shard) === hosted && topics.byId(topic.id) !== undefined
    if (!isServed()) return undefined
    const { epoch, relays } = hosted
    const appended = (batchOffset: number) => relays.appended(topic, opened, batchOffset)
    const given = { topic, log: opened, epoch, isServed, appended, pressure, clock }
    return new ServedPartition(given)
  }

  #hosted(shard: number): HostedShard | undefined {
    const hosted = this.#options.hosted.get(shard)
    return hosted?.writer.lost === false && this.#options.isMember() ? hosted : undefined
  }
}
