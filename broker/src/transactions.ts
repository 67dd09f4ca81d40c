/** Transactions, composed: the coordinators of the shards that are owned here, and questions to all others. */
import type { MetadataCache } from './cluster/metadata-cache.ts'
import type { PeerMesh } from './cluster/peer-mesh.ts'
import type { PlacementClient } from './cluster/placement-client.ts'
import type { FunctionParts } from './cluster/shard-host.ts'
import type { HostedShards, HostedTransactions } from './core/hosted-shard.ts'
import type { LogShard } from './core/logs/log-shard.ts'
import type { Clock } from './core/ports/clock.ts'
import { ShardClient } from './core/shard-client.ts'
import { shardOfGroup } from './core/topics/committed-offsets.ts'
import { TransactionCoordinator } from './core/transactions/transaction-coordinator.ts'
import { TransactionParticipant } from './core/transactions/transaction-participant.ts'
import { Transactions } from './core/transactions/transactions.ts'

interface TransactionParts {
  readonly metadata: MetadataCache
  readonly placement: PlacementClient
  readonly mesh: PeerMesh
  readonly hosted: HostedShards
  readonly clock: Clock
}

export interface ComposedTransactions {
  readonly client: Transactions
  /** Never given twice in the cluster. */
  readonly newProducerId: () => number
  /** The transactions of a shard that is owned here. */
  host(parts: Omit<FunctionParts, 'announce'> & { readonly logs: LogShard }): HostedTransactions
  /** Owners or members have changed. */
  changed(): void
}

export function composeTransactions(parts: TransactionParts): ComposedTransactions {
  const { metadata: directory, placement, mesh: peers, hosted, clock } = parts
  const shards = new ShardClient({ directory, hosted, peers, clock })
  const newProducerId = producerIds(placement)
  return {
    client: new Transactions({ directory, hosted, shards, isMember: () => placement.leaseValid }),
    newProducerId,
    host: (given) => ({
      coordinator: new TransactionCoordinator({
        ...{ ...given, shards, newProducerId },
        shardOfGroup: (group) => shardOfGroup(group, directory.shardCount),
      }),
      participant: new TransactionParticipant(given),
    }),
    changed: () => shards.changed(),
  }
}

/** Ids that one registration of a broker has for producers; 2^53 of these begin in 2^31 registrations and more. */
const IDS_OF_REGISTRATION = 2 ** 22

/** A registration's epoch is never given twice in a cluster, and so neither is an id that begins with it. */
function producerIds(placement: PlacementClient): () => number {
  let next = 0
  return () => placement.nodeEpoch * IDS_OF_REGISTRATION + (next++ % IDS_OF_REGISTRATION)
}
