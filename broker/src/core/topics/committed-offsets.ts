/**
 * What groups of consumers have committed, on the shard of each group: for every partition an offset, and what the
 * consumer says about it. By the id of the topic: a topic made anew is begun at its beginning.
 */
import { prefixEnd, type StorageAdapter } from '@robust/storage-adapters'
import type { HostedShard, HostedShards } from '../hosted-shard.ts'
import type { Directory, ShardOwner } from '../ports/directory.ts'
import { shardOf } from '../shard-hash.ts'
import { decodeJson, encodeJson, scanAll } from '../stored.ts'

export interface CommittedOffset {
  readonly topicId: string
  readonly partition: number
  readonly offset: number
  /** -1: unknown. */
  readonly leaderEpoch: number
  readonly metadata: string
}

/** The offsets of one group, while its shard is owned here. */
export interface OffsetsHome {
  readonly isServed: boolean
  load(): Promise<readonly CommittedOffset[]>
  /** Resolves when they are durable. False: the shard is lost, the outcome unknown. */
  commit(offsets: readonly CommittedOffset[]): Promise<boolean>
}

export interface CommittedOffsetsOptions {
  readonly directory: Directory
  readonly hosted: HostedShards
  readonly storage: StorageAdapter
  /** This broker is certainly a member: what it owns nobody else does. */
  readonly isMember: () => boolean
}

export class CommittedOffsets {
  readonly #options: CommittedOffsetsOptions

  constructor(options: CommittedOffsetsOptions) {
    this.#options = options
  }

  owner(group: string): ShardOwner | undefined {
    return this.#options.directory.owner(this.#shardOf(group))
  }

  /** Undefined: the group's shard is not owned here. The same while the same owner has it: `isServed`. */
  home(group: string): OffsetsHome | undefined {
    const shard = this.#shardOf(group)
    const hosted = this.#hosted(shard)
    if (hosted === undefined) return undefined
    const isServed = () => this.#hosted(shard) === hosted
    const { storage } = this.#options
    return {
      get isServed() {
        return isServed()
      },
      load: async () => {
        const prefix = prefixOf(group)
        const range = { from: prefix, to: prefixEnd(prefix) }
        const found: CommittedOffset[] = []
        for await (const { value } of scanAll(storage, hosted.shard, range)) {
          found.push(decodeJson<CommittedOffset>(value))
        }
        return found
      },
      commit: (offsets) => {
        if (!isServed()) return Promise.resolve(false)
        const { writer } = hosted
        for (const offset of offsets) writer.put(keyOf(group, offset), encodeJson(offset))
        return new Promise((resolve) => {
          writer.onCommit((outcome) => resolve(outcome === 'committed'))
        })
      },
    }
  }

  #shardOf(group: string): number {
    return shardOf('consumer-offsets', group, this.#options.directory.shardCount)
  }

  #hosted(shard: number): HostedShard | undefined {
    const hosted = this.#options.hosted.get(shard)
    return hosted?.writer.lost === false && this.#options.isMember() ? hosted : undefined
  }
}

/** NUL is in no group's name. Never change this: stored data is found by it. */
function prefixOf(group: string): string {
  return `consumer-offsets\0${group}\0`
}

function keyOf(group: string, { topicId, partition }: CommittedOffset): string {
  return `${prefixOf(group)}${topicId}\0${partition}`
}
