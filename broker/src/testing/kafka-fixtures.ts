/** Kafka's connections over real logs in virtual time: a test is the client, and knows every byte. */
import type { StorageAdapter } from '@robust/storage-adapters'
import { BrokerError } from '../core/errors.ts'
import type { HostedShard, HostedShards } from '../core/hosted-shard.ts'
import { DEFAULT_LOG_POLICY, type LogPolicy } from '../core/logs/log-policy.ts'
import type { Peers } from '../core/ports/peers.ts'
import { NamedCounts } from '../core/ports/telemetry.ts'
import { SharePartitions } from '../core/shares/share-partitions.ts'
import { StoragePressure } from '../core/storage-pressure.ts'
import { CommittedOffsets } from '../core/topics/committed-offsets.ts'
import { partitionOf } from '../core/topics/topic.ts'
import {
  type TopicDefinitions,
  TopicLogs,
  type TopicSettings,
  type TopicShape,
} from '../core/topics/topic-logs.ts'
import { Topics } from '../core/topics/topics.ts'
import type { Services } from '../protocols/kafka/call.ts'
import { type Api, isFlexible } from '../protocols/kafka/codec/api.ts'
import { API_VERSIONS } from '../protocols/kafka/codec/log-apis.ts'
import {
  decode,
  encode,
  int16,
  int32,
  nullableString,
  struct,
  type WireType,
} from '../protocols/kafka/codec/wire-types.ts'
import { KafkaConnection } from '../protocols/kafka/connection.ts'
import { FetchSessions } from '../protocols/kafka/fetch-sessions.ts'
import { Frames } from '../protocols/kafka/frames.ts'
import { Coordinator } from '../protocols/kafka/groups/coordinator.ts'
import {
  type GroupConfigStore,
  GroupConfigs,
  type GroupConfigValues,
} from '../protocols/kafka/groups/group-configs.ts'
import { ShareSessions } from '../protocols/kafka/groups/share-sessions.ts'
import type { Doors } from '../protocols/kafka/identity.ts'
import { Members, uuidOf } from '../protocols/kafka/mapping.ts'
import { ClientQuotas, type QuotaEntry, type QuotaStore } from '../protocols/kafka/quotas.ts'
import { ByteReader } from '../protocols/shared/byte-reader.ts'
import type { Access } from '../security/access.ts'
import { FailedAttempts } from '../security/failed-attempts.ts'
import type { Permission, Permissions, StoredPermission } from '../security/permissions.ts'
import type { ScramName } from '../security/scram.ts'
import type { ScramUsers } from '../security/scram-users.ts'
import { CoreTransactions } from './core-transactions.ts'
import { LogBench } from './log-fixtures.ts'
import { MemoryStream } from './memory-stream.ts'
import { settle } from './virtual-clock.ts'

const requestHead = struct({
  ...{ apiKey: int16, version: int16, correlationId: int32, clientId: nullableString() },
})

type Spoken = Pick<Api, 'key' | 'flexible'>
type Asks<Request> = Spoken & { readonly request: WireType<Request> }
type Answers<Response> = Spoken & { readonly response: WireType<Response> }

/** A connection, and the frames that came by it. */
export class KafkaClient {
  readonly stream: MemoryStream
  readonly answers: Buffer[] = []
  readonly #frames = new Frames(() => Number.POSITIVE_INFINITY)
  #correlationId = 0

  constructor() {
    this.stream = new MemoryStream((bytes) => this.answers.push(...this.#frames.take(bytes)))
  }

  get isClosed(): boolean {
    return this.stream.destroyed
  }

  /** Sends it, and waits for nothing. */
  send<Request>(api: Asks<Request>, version: number, body: Request): void {
    const flexible = isFlexible(api, version)
    const head = {
      apiKey: api.key,
      version,
      correlationId: ++this.#correlationId,
      clientId: 'test',
    }
    this.raw(
      encode(requestHead, head, { version: 0, flexible: false }),
      Buffer.alloc(flexible ? 1 : 0),
      encode(api.request, body, { version, flexible }),
    )
  }

  raw(...parts: readonly Buffer[]): void {
    const content = Buffer.concat(parts)
    const length = Buffer.alloc(4)
    length.writeInt32BE(content.length)
    this.stream.receive(Buffer.concat([length, content]))
  }

  /** The answer, which must have come when all that is ready has run. */
  async ask<Request, Response>(
    api: Asks<Request> & Answers<Response>,
    version: number,
    body: Request,
  ): Promise<Response> {
    const before = this.answers.length
    this.send(api, version, body)
    await settle()
    return this.read(api, version, before)
  }

  read<Response>(api: Answers<Response>, version: number, at: number): Response {
    const frame = this.answers[at]
    if (frame === undefined) throw new Error(`there is no answer ${at}`)
    const flexible = isFlexible(api, version)
    const hasTags = flexible && api.key !== API_VERSIONS.key
    const reader = new ByteReader(frame.subarray(hasTags ? 5 : 4))
    return decode(api.response, reader, { version, flexible })
  }
}

class KnownPermissions implements Permissions {
  #all: readonly StoredPermission[] = []

  all(): readonly StoredPermission[] {
    return this.#all
  }

  add(more: readonly Permission[]): Promise<void> {
    const stored = more.map((one) => ({ ...one, id: JSON.stringify(one) }))
    const byId = new Map([...this.#all, ...stored].map((one) => [one.id, one]))
    this.#all = [...byId.values()]
    return Promise.resolve()
  }

  remove(gone: readonly StoredPermission[]): Promise<void> {
    this.#all = this.#all.filter(({ id }) => gone.every((one) => one.id !== id))
    return Promise.resolve()
  }
}

class KnownGroupConfigs implements GroupConfigStore {
  readonly #all = new Map<string, GroupConfigValues>()

  get(group: string): GroupConfigValues {
    return this.#all.get(group) ?? {}
  }

  names(): readonly string[] {
    return [...this.#all.keys()]
  }

  async change(group: string, edit: (now: GroupConfigValues) => GroupConfigValues): Promise<void> {
    this.#all.set(group, edit(this.get(group)))
  }
}

class KnownQuotas implements QuotaStore {
  readonly #all = new Map<string, QuotaEntry>()
  #changed: () => void = () => undefined

  all(): readonly QuotaEntry[] {
    return [...this.#all.values()]
  }

  observe(listener: () => void): void {
    this.#changed = listener
  }

  change(...[entity, changes]: Parameters<QuotaStore['change']>): Promise<void> {
    const key = JSON.stringify(entity)
    const limits = { ...this.#all.get(key)?.quota, ...Object.fromEntries(changes) }
    const quota = Object.fromEntries(Object.entries(limits).filter(([, value]) => value))
    if (Object.keys(quota).length === 0) this.#all.delete(key)
    else this.#all.set(key, { entity, quota })
    this.#changed()
    return Promise.resolve()
  }
}

const refuse = () => Promise.resolve({ kind: 'bad-credentials' } as const)

/** As the definitions of a cluster refuse it. */
const PARTITIONS_MAX = 1_000

export class KafkaBench {
  readonly logs = new LogBench()
  readonly topics = new Topics(() => undefined)
  readonly refusedBy: object[] = []
  readonly onOwners = new Set<() => void>()
  access: Access | undefined
  readonly banned = new Set<string>()
  reauthenticationMs: number | null = null
  /** Lets everybody in without a word, as `access` says. */
  authenticator: Doors['authenticator'] = {
    greet: () => Promise.resolve({ kind: 'in', user: 'u', access: this.access }),
    ...{ authenticate: refuse, authenticateToken: refuse, takesTokens: false },
    ...{ method: () => undefined, failures: new NamedCounts() },
  }
  readonly permissions = new KnownPermissions()
  readonly quotas = new KnownQuotas()
  /** Of topics, as they were given. */
  readonly settings = new Map<string, TopicSettings>()
  readonly credentials = new Map<string, Map<ScramName, number>>()
  readonly scramUsers: ScramUsers = {
    all: () => this.credentials,
    set: (user, changes) => {
      const known = this.credentials.get(user) ?? new Map<ScramName, number>()
      this.credentials.set(user, known)
      for (const [name, salted] of changes) {
        if (salted === undefined) known.delete(name)
        else known.set(name, salted.iterations)
      }
      return Promise.resolve()
    },
  }
  /** Of the broker that owns every shard. */
  owner = 'b1'
  level = 0
  #connected: Services | undefined
  readonly deliveryLimits = { lockMs: 30_000, deliveriesMax: 3, inFlightMax: 1_000 }
  readonly groupConfigs = new GroupConfigs(new KnownGroupConfigs(), {
    ...{ lockMs: () => this.deliveryLimits.lockMs, beginsAtEnd: () => false },
  })
  offsetsRetentionMs = 1_000_000
  #nextProducerId = 1_000
  #members = 0
  #hosted: HostedShard | undefined
  readonly #parts = {
    directory: {
      ...{ self: 'b1', shardCount: 1, peers: () => ['b2'], isMember: () => true },
      owner: () => ({ node: this.owner, epoch: this.logs.writer.epoch }),
    },
    hosted: {
      get: () => (this.owner === 'b1' ? this.#hosted : undefined),
      all: () => (this.#hosted === undefined ? [] : [this.#hosted]).values(),
    } as unknown as HostedShards,
    peers: {} as Peers,
    clock: this.logs.clock,
  }
  #nextSessionId = 1
  readonly #fetchSessions = new FetchSessions(() => this.#nextSessionId++)
  readonly #transactions = new CoreTransactions(this.#parts)

  async start(): Promise<this> {
    await this.own()
    return this
  }

  /** Another owner takes the shard: the one before is gone without a word. */
  async own(): Promise<void> {
    this.#hosted?.transactions.coordinator.stop()
    const logs = await this.logs.own()
    const { writer, storage, errors } = this.logs
    const onError = (error: Error): void => void errors.push(error)
    const transactions = this.#transactions.host({ writer, storage, logs, onError })
    await transactions.coordinator.load()
    const { shard, epoch } = writer
    const relays = { appended: () => undefined }
    this.#hosted = { shard, epoch, writer, logs, transactions, relays } as unknown as HostedShard
    transactions.coordinator.start()
  }

  topic(name: string, partitions = 1, policy: Partial<LogPolicy> = {}): void {
    this.topics.set({
      ...{ tenant: 'default', name, id: String(this.#nextProducerId++), address: name },
      ...{ partitions, capture: [], policy: { ...DEFAULT_LOG_POLICY, ...policy } },
    })
  }

  logOf(name: string, partition: number): string {
    const topic = this.topics.get('default', name)
    if (topic === undefined) throw new Error(`no topic ${name}`)
    return partitionOf(topic, partition, 1).log
  }

  /** Of the connection that was made last. */
  get services(): Services {
    if (this.#connected === undefined) throw new Error('nobody has connected')
    return this.#connected
  }

  topicId(name: string): string {
    return uuidOf(this.topics.get('default', name) ?? { id: '0' })
  }

  async connect(): Promise<KafkaClient> {
    this.#connected = this.#services()
    return await this.connectAgain()
  }

  /** To the broker that is there already. */
  async connectAgain(): Promise<KafkaClient> {
    const client = new KafkaClient()
    const { clock } = this.logs
    const log = (fields: object): void => void this.refusedBy.push(fields)
    const connection = new KafkaConnection({
      peer: {
        ...{ stream: client.stream, address: '127.0.0.1', port: 1, secure: false },
        certificateName: undefined,
      },
      ...{ entrance: 'kafka', clock, services: this.services },
      doors: {
        authenticator: this.authenticator,
        admission: {
          ...{ admit: () => undefined, enter: () => undefined, leave: () => undefined },
          ...{ isOutOfMemory: false, isOverrun: false },
        },
        ...{ bans: { isBanned: (visitor) => this.banned.has(visitor.user ?? '') }, clock },
        ...{ attempts: new FailedAttempts(clock), log: { warn: log } },
        reauthenticationMs: () => this.reauthenticationMs,
      },
      log: { debug: () => undefined, info: log, warn: log, error: log },
      onClose: () => undefined,
    })
    await connection.start()
    return client
  }

  #shape(name: string): TopicShape {
    const { partitions = 0 } = this.topics.get('default', name) ?? {}
    return { partitions, config: this.settings.get(name) ?? {} }
  }

  /** There is one shard, whichever is asked for. */
  #storage(): StorageAdapter {
    const { storage, writer } = this.logs
    return Object.assign(Object.create(storage) as StorageAdapter, {
      get: (_shard: number, key: string) => storage.get(writer.shard, key),
      scan: (...asked: Parameters<StorageAdapter['scan']>) => storage.scan(...asked),
    })
  }

  #services(): Services {
    const { clock } = this.logs
    const storage = this.#storage()
    const { directory, hosted } = this.#parts
    const given = { directory, hosted, clock, storage, isMember: () => true }
    const definitions: TopicDefinitions = {
      refusal: ({ partitions, config }) => {
        if (partitions > PARTITIONS_MAX) return `${partitions} partitions are too many`
        const wrong = Object.entries(config).find(([, value]) => Number.isNaN(value))
        return wrong && `${wrong[0]} is no number`
      },
      create: ({ name, partitions, config }) => {
        if (this.topics.get('default', name) !== undefined) return Promise.resolve(false)
        this.topic(name, partitions)
        this.settings.set(name, config)
        return Promise.resolve(true)
      },
      remove: (name) => {
        this.topics.remove('default', name)
        return Promise.resolve(true)
      },
      defaults: {
        ...{ cleanup: 'delete', 'retention-ms': 604_800_000, 'retention-bytes': null },
        ...{ 'tombstone-delay-ms': 1, 'compaction-lag-ms': 0, 'dirty-percent': 50 },
        ...{ 'batch-bytes-max': 1_048_588, 'segment-bytes': 4_096, 'segment-ms': 1_000 },
      },
      shape: (name) => this.#shape(name),
      alter: (name, _tenant, edit) => {
        const topic = this.topics.get('default', name)
        if (topic === undefined) return Promise.reject(new BrokerError('NOT_FOUND', 'none'))
        try {
          const { partitions, config } = edit(this.#shape(name))
          this.topics.set({ ...topic, partitions })
          this.settings.set(name, config)
          return Promise.resolve()
        } catch (error) {
          return Promise.reject(error)
        }
      },
    }
    const pressure = new StoragePressure({ clock, level: () => this.level })
    const topics = new TopicLogs({ ...given, topics: this.topics, definitions, pressure })
    const coordinator = new Coordinator({
      ...{ offsets: new CommittedOffsets(given), clock },
      newMemberId: (instanceId) => `${instanceId ?? 'm'}${++this.#members}`,
      offsetsRetentionMs: () => this.offsetsRetentionMs,
      groupConfigs: this.groupConfigs,
      topics,
    })
    return {
      topics,
      members: new Members(
        {
          ...{ self: 'b1', clusterId: () => 'c', hashOf: (name: string) => Number(name.slice(1)) },
          nodes: () => [
            { node: 'b1', host: 'one', port: 9_092 },
            { node: 'b2', host: 'two', port: 9_192 },
          ],
        },
        { entrance: 'kafka', dialled: '127.0.0.1' },
      ),
      coordinator,
      shares: {
        partitions: new SharePartitions({
          ...given,
          limits: (group) => ({
            ...this.deliveryLimits,
            lockMs: this.groupConfigs.lockMs(group),
          }),
        }),
        sessions: new ShareSessions(),
        recordOf: (group) => coordinator.shareRecordOf(group),
      },
      onOwners: this.onOwners,
      counts: { messagesIn: 0, messagesOut: 0, denied: 0 },
      ...{ clock, produceLatency: { record: () => undefined } as never },
      transactions: this.#transactions.client,
      fetchSessions: this.#fetchSessions,
      nextProducerId: () => this.#nextProducerId++,
      permissions: this.permissions,
      scramUsers: this.scramUsers,
      quotas: new ClientQuotas(clock, this.quotas),
      groupConfigs: this.groupConfigs,
    }
  }
}
