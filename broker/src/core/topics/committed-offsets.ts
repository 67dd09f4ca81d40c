/**
 * What groups of consumers have committed, on the shard of each group: for every partition an offset, and what the
 * consumer says about it. By the id of the topic: a topic made anew is begun at its beginning.
 */
import { prefixEnd, type StorageAdapter } from '@robust/storage-adapters'
import type { HostedShard, HostedShards } from '../hosted-shard.ts'
import type { Directory, ShardOwner } from '../ports/directory.ts'
import { shardOf } from '../shard-hash.ts'
import { decodeJson, encodeJson, scanAll } from '../stored.ts'
import type {
  TransactionNumber,
  TransactionParticipant,
} from '../transactions/transaction-participant.ts'
import { type CommittedOffset, committedKey, committedPrefix } from './committed-key.ts'

export type { CommittedOffset } from './committed-key.ts'

/** The offsets of one group, while its shard is owned here. */
export interface OffsetsHome {
  readonly isServed: boolean
  load(): Promise<readonly CommittedOffset[]>
  /** Resolves when they are durable. False: the shard is lost, the outcome unknown. */
  commit(offsets: readonly CommittedOffset[]): Promise<boolean>
  /** Changes when a transaction has committed offsets: what was loaded is no longer true. */
  readonly revision: number
  /** As `commit`, once the transaction is committed. */
  commitWith(transaction: TransactionNumber, offsets: readonly CommittedOffset[]): Promise<boolean>
  /** Of transactions that go on. Rejects with a StorageError. */
  pending(): Promise<readonly CommittedOffset[]>
  readonly verifications: TransactionParticipant['verifications']
}

export function shardOfGroup(group: string, shardCount: number): number {
  return shardOf('consumer-offsets', group, shardCount)
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
    const { participant } = hosted.transactions
    return {
      get isServed() {
        return isServed()
      },
      get revision() {
        return participant.revisionOf(group)
      },
      verifications: participant.verifications,
      pending: () => participant.pendingOffsets(group),
      commitWith: (transaction, offsets) =>
        isServed() ? participant.keepOffsets(group, transaction, offsets) : Promise.resolve(false),
      load: async () => {
        const prefix = committedPrefix(group)
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
        for (const offset of offsets) writer.put(committedKey(group, offset), encodeJson(offset))
        return new Promise((resolve) => {
          writer.onCommit((outcome) => resolve(outcome === 'committed'))
        })
      },
    }
  }

  #shardOf(group: string): number {
    return shardOfGroup(group, this.#options.directory.shardCount)
  }

  #hosted(shard: number): HostedShard | undefined {
    const hosted = this.#options.hosted.get(shard)
    return hosted?.writer.lost === false && this.#options.isMember() ? hosted : undefined
  }
}
