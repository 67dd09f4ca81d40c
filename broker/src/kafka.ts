/** Kafka, composed: what its server is given, from the flags and the broker's parts. */
import { randomInt, randomUUID } from 'node:crypto'
import type { StorageAdapter } from '@robust/storage-adapters'
import type { MetadataCache } from './cluster/metadata-cache.ts'
import type { PeerMesh } from './cluster/peer-mesh.ts'
import type { PlacementClient } from './cluster/placement-client.ts'
import type { BrokerSettings, Settings } from './cluster/settings.ts'
import { systemClock } from './cluster/system-clock.ts'
import { PlacedTopics } from './cluster/topic-definitions.ts'
import type { BrokerConfig } from './config.ts'
import type { HostedShards } from './core/hosted-shard.ts'
import { hashOf } from './core/shard-hash.ts'
import { type DeliveryLimits, SharePartitions } from './core/shares/share-partitions.ts'
import type { StoragePressure } from './core/storage-pressure.ts'
import { CommittedOffsets } from './core/topics/committed-offsets.ts'
import { TopicLogs } from './core/topics/topic-logs.ts'
import type { Topics } from './core/topics/topics.ts'
import { PlacedGroupConfigs } from './placed-group-configs.ts'
import { PlacedPermissions } from './placed-permissions.ts'
import { PlacedQuotas } from './placed-quotas.ts'
import { PlacedScramUsers } from './placed-scram-users.ts'
import { GroupConfigs } from './protocols/kafka/groups/group-configs.ts'
import { SHARE_IN_FLIGHT_MAX } from './protocols/kafka/limits.ts'
import { type KafkaEntrances, KafkaServer } from './protocols/kafka/server.ts'
import type { AdmissionPort } from './protocols/shared/admission.ts'
import type { ProtocolLog } from './protocols/shared/protocol-server.ts'
import type { Authenticator } from './security/authenticator.ts'
import { Bans } from './security/bans.ts'
import type { ComposedTransactions } from './transactions.ts'

export interface KafkaParts {
  readonly config: BrokerConfig
  readonly metadata: MetadataCache
  readonly settings: BrokerSettings
  readonly placement: PlacementClient
  readonly mesh: PeerMesh
  readonly hosted: HostedShards
  readonly storage: StorageAdapter
  readonly topics: Topics
  readonly transactions: ComposedTransactions
  readonly pressure: StoragePressure
  readonly admission: AdmissionPort
  readonly security: Authenticator
  readonly log: ProtocolLog
}

export function composeKafka(parts: KafkaParts): KafkaServer {
  const { config, metadata, settings, placement, transactions, admission, security, log } = parts
  const { host, tls, proxied } = config
  const isMember = (): boolean => placement.leaseValid
  const given = { ...parts, directory: metadata, clock: systemClock, isMember }
  const limits = settings.live(deliveryLimits)
  const groupConfigs = new GroupConfigs(new PlacedGroupConfigs(given), {
    lockMs: () => 1_000 * settings.get('share.lock-seconds'),
    beginsAtEnd: () => settings.get('share.offset-reset') === 'latest',
  })
  const server = new KafkaServer({
    entrances: { host, ports: kafkaPorts(config), tls, proxied },
    topics: new TopicLogs({ ...given, definitions: new PlacedTopics(given) }),
    offsets: new CommittedOffsets(given),
    permissions: new PlacedPermissions(given),
    scramUsers: new PlacedScramUsers(given),
    quotas: new PlacedQuotas(given),
    members: {
      self: metadata.self,
      clusterId: () => metadata.clusterId,
      nodes: (entrance) => kafkaNodes(metadata, entrance),
      hashOf,
    },
    transactions: transactions.client,
    nextProducerId: transactions.newProducerId,
    newMemberId: (instanceId) => `${instanceId ?? 'member'}-${randomUUID()}`,
    offsetsRetentionMs: () => 1_000 * settings.get('offsets.retention-seconds'),
    shares: {
      partitions: new SharePartitions({
        ...given,
        limits: (group) => ({ ...limits(), lockMs: groupConfigs.lockMs(group) }),
      }),
    },
    groupConfigs,
    bans: new Bans(metadata.resources, () => systemClock.wallMs()),
    reauthenticationMs: settings.live(reauthenticationMs),
    newSessionId: () => randomInt(1, 2 ** 31),
    ...{ authenticator: security, admission, clock: systemClock, log },
  })
  // After the shards themselves have been given up or taken.
  metadata.observe(() => systemClock.defer(() => server.ownersChanged()))
  return server
}

function deliveryLimits(settings: Settings): Omit<DeliveryLimits, 'lockMs'> {
  return {
    deliveriesMax: settings.get('share.deliveries-max'),
    inFlightMax: SHARE_IN_FLIGHT_MAX,
  }
}

function kafkaNodes(metadata: MetadataCache, entrance: string) {
  return metadata
    .nodes()
    .flatMap(({ nodeId: node, endpoints }) =>
      endpoints
        .filter(({ protocol }) => protocol === entrance)
        .map(({ host, port }) => ({ node, host, port })),
    )
}

function reauthenticationMs(settings: Settings): number | null {
  const seconds = settings.get('kafka.reauthentication-seconds')
  return seconds === null ? null : seconds * 1_000
}

export function kafkaPorts({ kafkaPort, kafkaTlsPort }: BrokerConfig): KafkaEntrances['ports'] {
  return { kafka: kafkaPort, kafkas: kafkaTlsPort }
}
