/** Transactions as any broker works with them: who coordinates which, and questions to the coordinator. */
import { BrokerError } from '../errors.ts'
import type { HostedShard, HostedShards } from '../hosted-shard.ts'
import type { Directory, ShardOwner } from '../ports/directory.ts'
import type { ShardClient } from '../shard-client.ts'
import { shardOf } from '../shard-hash.ts'
import { partitionOf, type Topic } from '../topics/topic.ts'
import type { JoinRequest, TransactionPartition } from './transaction.ts'
import type { TransactionCoordinator } from './transaction-coordinator.ts'
import type { JoinOutcome } from './transaction-requests.ts'

export type {
  Transaction,
  TransactionFault,
  TransactionPartition,
  TransactionState,
} from './transaction.ts'
export type { TransactionCoordinator } from './transaction-coordinator.ts'

export interface TransactionsOptions {
  readonly directory: Directory
  readonly hosted: HostedShards
  readonly shards: Pick<ShardClient, 'call'>
  /** This broker is certainly a member: what it owns nobody else does. */
  readonly isMember: () => boolean
}

/** How long a coordinator is asked, ms: a producer waits. */
const JOIN_MS = 5_000

export class Transactions {
  readonly #options: TransactionsOptions

  constructor(options: TransactionsOptions) {
    this.#options = options
  }

  owner(id: string): ShardOwner | undefined {
    return this.#options.directory.owner(this.#shardOf(id))
  }

  /** Undefined: it is coordinated elsewhere. */
  at(id: string): TransactionCoordinator | undefined {
    const hosted = this.#options.hosted.get(this.#shardOf(id))
    return hosted !== undefined && this.#isServed(hosted)
      ? hosted.transactions.coordinator
      : undefined
  }

  /** Those of this broker. */
  coordinators(): TransactionCoordinator[] {
    return [...this.#options.hosted.all()]
      .filter((hosted) => this.#isServed(hosted))
      .map(({ transactions }) => transactions.coordinator)
  }

  /** Wherever it is coordinated. */
  async join(id: string, join: JoinRequest): Promise<JoinOutcome> {
    const call = { kind: 'join', id, join } as const
    try {
      const { shards } = this.#options
      const request = { kind: 'transaction', call } as const
      const { transaction } = await shards.call(this.#shardOf(id), request, JOIN_MS)
      return transaction ?? { fault: 'lost' }
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      return { fault: 'lost' }
    }
  }

  placeOf(topic: Topic, partition: number): TransactionPartition {
    const place = partitionOf(topic, partition, this.#options.directory.shardCount)
    return { topic: topic.name, partition, ...place }
  }

  #shardOf(id: string): number {
    return shardOf('transaction', id, this.#options.directory.shardCount)
  }

  #isServed({ writer }: HostedShard): boolean {
    return !writer.lost && this.#options.isMember()
  }
}
