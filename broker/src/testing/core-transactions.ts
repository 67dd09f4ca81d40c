/** The transactions of one broker of a CoreCluster, or of a broker that is alone with its shards. */
import type { StorageAdapter } from '@robust/storage-adapters'
import type { HostedShards, HostedTransactions } from '../core/hosted-shard.ts'
import type { LogShard } from '../core/logs/log-shard.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Directory } from '../core/ports/directory.ts'
import type { Peers } from '../core/ports/peers.ts'
import { ShardClient } from '../core/shard-client.ts'
import type { ShardWriter } from '../core/shard-writer.ts'
import { shardOfGroup } from '../core/topics/committed-offsets.ts'
import { TransactionCoordinator } from '../core/transactions/transaction-coordinator.ts'
import { TransactionParticipant } from '../core/transactions/transaction-participant.ts'
import { Transactions } from '../core/transactions/transactions.ts'

interface CoreTransactionsOptions {
  readonly directory: Directory
  readonly hosted: HostedShards
  readonly peers: Peers
  readonly clock: Clock
}

let newestProducer = 1_000_000

export class CoreTransactions {
  readonly client: Transactions
  readonly #options: CoreTransactionsOptions
  readonly #shards: ShardClient

  constructor(options: CoreTransactionsOptions) {
    this.#options = options
    this.#shards = new ShardClient(options)
    this.client = new Transactions({ ...options, shards: this.#shards, isMember: () => true })
  }

  host(parts: {
    readonly writer: ShardWriter
    readonly storage: StorageAdapter
    readonly logs: LogShard
    readonly onError: (error: Error) => void
  }): HostedTransactions {
    const { clock, directory } = this.#options
    const coordinator = new TransactionCoordinator({
      ...{ ...parts, clock, shards: this.#shards, newProducerId: () => ++newestProducer },
      shardOfGroup: (group) => shardOfGroup(group, directory.shardCount),
    })
    return { coordinator, participant: new TransactionParticipant(parts) }
  }

  changed(): void {
    this.#shards.changed()
  }
}
