/**
 * What is kept of groups of consumers, on the shard of each: what it has committed, for every partition an offset and
 * what the consumer says about it, and what its coordinator must know of it to go on, which is opaque here. Offsets
 * are kept by the id of the topic: a topic made anew is begun at its beginning.
 */
import { type KeyValue, prefixEnd, type StorageAdapter } from '@robust/storage-adapters'
import { BrokerError } from '../errors.ts'
import type { HostedShard, HostedShards } from '../hosted-shard.ts'
import type { Directory, ShardOwner } from '../ports/directory.ts'
import { shardOf } from '../shard-hash.ts'
import type { ShardWriter } from '../shard-writer.ts'
import { decodeJson, encodeJson, scanAll } from '../stored.ts'
import type {
  TransactionNumber,
  TransactionParticipant,
} from '../transactions/transaction-participant.ts'
import { type CommittedOffset, committedKey, committedPrefix } from './committed-key.ts'

export type { TransactionNumber } from '../transactions/transaction-participant.ts'
export type { CommittedOffset } from './committed-key.ts'

/** What changes in one commit. */
export interface GroupChange {
  readonly commit?: readonly CommittedOffset[]
  readonly forget?: readonly CommittedOffset[]
  /** Null: the group is gone. */
  readonly state?: object | null
}

/** One group, while its shard is owned here. */
export interface OffsetsHome {
  readonly isServed: boolean
  /** This and the next reject with BrokerError UNAVAILABLE. */
  load(): Promise<readonly CommittedOffset[]>
  /** What was stored as its state; undefined: nothing. */
  loadState(): Promise<unknown>
  /** Resolves when it is durable. False: the shard is lost, the outcome unknown. */
  change(change: GroupChange): Promise<boolean>
  /** Changes when a transaction has committed offsets: what was loaded is no longer true. */
  readonly revision: number
  /** As `change`, once the transaction is committed. */
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
      load: () =>
        scanned(storage, hosted.shard, committedPrefix(group)).then(valuesOf<CommittedOffset>),
      loadState: async () => {
        const found = await storage.get(hosted.shard, stateKey(group)).catch(unavailable)
        return found === undefined ? undefined : decodeJson(found)
      },
      change: (change) => {
        if (!isServed()) return Promise.resolve(false)
        const { writer } = hosted
        writer.transact(() => stage(writer, group, change))
        return new Promise((resolve) => {
          writer.onCommit((outcome) => resolve(outcome === 'committed'))
        })
      },
    }
  }

  /** What is stored as the state of a group, whoever coordinates it. Rejects with BrokerError UNAVAILABLE. */
  async stateOf(group: string): Promise<unknown> {
    const found = await this.#options.storage
      .get(this.#shardOf(group), stateKey(group))
      .catch(unavailable)
    return found === undefined ? undefined : decodeJson(found)
  }

  /** The names of the groups on the shards that are owned here. Rejects with BrokerError UNAVAILABLE. */
  async names(): Promise<readonly string[]> {
    const { directory, storage } = this.#options
    const names: string[] = []
    for (let shard = 0; shard < directory.shardCount; shard++) {
      const hosted = this.#hosted(shard)
      if (hosted === undefined) continue
      const found = await scanned(storage, hosted.shard, STATES)
      names.push(...found.map(({ key }) => key.slice(STATES.length)))
    }
    return names
  }

  #shardOf(group: string): number {
    return shardOfGroup(group, this.#options.directory.shardCount)
  }

  #hosted(shard: number): HostedShard | undefined {
    const hosted = this.#options.hosted.get(shard)
    return hosted?.writer.lost === false && this.#options.isMember() ? hosted : undefined
  }
}

async function scanned(
  storage: StorageAdapter,
  shard: number,
  prefix: string,
): Promise<readonly KeyValue[]> {
  const found: KeyValue[] = []
  try {
    const range = { from: prefix, to: prefixEnd(prefix) }
    for await (const pair of scanAll(storage, shard, range)) found.push(pair)
  } catch (error) {
    unavailable(error)
  }
  return found
}

function valuesOf<T>(pairs: readonly KeyValue[]): readonly T[] {
  return pairs.map(({ value }) => decodeJson<T>(value))
}

function unavailable(cause: unknown): never {
  throw new BrokerError('UNAVAILABLE', 'what is kept of groups cannot be read now', { cause })
}

function stage(writer: ShardWriter, group: string, change: GroupChange): void {
  const { commit = [], forget = [], state } = change
  for (const offset of commit) writer.put(committedKey(group, offset), encodeJson(offset))
  for (const offset of forget) writer.delete(committedKey(group, offset))
  if (state === null) writer.delete(stateKey(group))
  else if (state !== undefined) writer.put(stateKey(group), encodeJson(state))
}

const STATES = 'consumer-group\0'

function stateKey(group: string): string {
  return `${STATES}${group}`
}
