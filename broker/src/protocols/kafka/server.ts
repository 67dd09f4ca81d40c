/** Kafka: its listener and its connections. */
import type { Clock } from '../../core/ports/clock.ts'
import type { GroupAdministration } from '../../core/ports/group-administration.ts'
import { Latencies } from '../../core/ports/telemetry.ts'
import type { CommittedOffsets } from '../../core/topics/committed-offsets.ts'
import type { TopicLogs } from '../../core/topics/topic-logs.ts'
import type { Transactions } from '../../core/transactions/transactions.ts'
import { ANONYMOUS, type Authenticator } from '../../security/authenticator.ts'
import type { Bans } from '../../security/bans.ts'
import { FailedAttempts } from '../../security/failed-attempts.ts'
import type { Permissions } from '../../security/permissions.ts'
import type { ScramUsers } from '../../security/scram-users.ts'
import type { TlsOptions } from '../../security/tls-certificates.ts'
import type { AdmissionPort } from '../shared/admission.ts'
import { ListenError, type Listener, listen, type Peer } from '../shared/listener.ts'
import type {
  ClientMove,
  ConnectedClient,
  ListeningEndpoint,
  ProtocolCounters,
  ProtocolLatencies,
  ProtocolLog,
  ProtocolServer,
} from '../shared/protocol-server.ts'
import { SeldomLog } from '../shared/seldom-log.ts'
import type { Services } from './call.ts'
import { KafkaConnection } from './connection.ts'
import { FetchSessions } from './fetch-sessions.ts'
import { administrationOf } from './groups/administration.ts'
import { Coordinator } from './groups/coordinator.ts'
import type { GroupConfigs } from './groups/group-configs.ts'
import type { ShareServices } from './groups/share-services.ts'
import { ShareSessions } from './groups/share-sessions.ts'
import type { Doors } from './identity.ts'
import { Members, type MembersOptions } from './mapping.ts'
import { ClientQuotas, type QuotaStore } from './quotas.ts'

/** Plain, and over TLS. */
export type KafkaListenerName = 'kafka' | 'kafkas'

export interface KafkaEntrances {
  readonly host: string
  /** Undefined: not offered. */
  readonly ports: Readonly<Record<KafkaListenerName, number | undefined>>
  readonly tls: TlsOptions | undefined
  /** Listeners behind a load balancer that sends PROXY headers; names of other protocols do not matter. */
  readonly proxied: readonly string[]
}

export interface KafkaServerOptions {
  readonly entrances: KafkaEntrances
  readonly topics: TopicLogs
  readonly offsets: CommittedOffsets
  readonly permissions: Permissions
  readonly scramUsers: ScramUsers
  readonly quotas: QuotaStore
  readonly groupConfigs: GroupConfigs
  readonly members: MembersOptions
  readonly transactions: Transactions
  readonly nextProducerId: () => number
  readonly newMemberId: (groupInstanceId: string | null) => string
  readonly offsetsRetentionMs: () => number
  readonly shares: Omit<ShareServices, 'sessions' | 'recordOf'>
  readonly authenticator: Doors['authenticator'] & Pick<Authenticator, 'onRevoked'>
  readonly bans: Bans
  readonly reauthenticationMs: () => number | null
  /** 31 bits, not to be guessed. */
  readonly newSessionId: () => number
  readonly admission: AdmissionPort
  readonly clock: Clock
  readonly log: ProtocolLog
}

const STOP_MS = 2_000

export class KafkaServer implements ProtocolServer {
  readonly protocol = 'kafka'
  readonly groups: GroupAdministration
  readonly latencies: ProtocolLatencies = { publish: new Latencies(), delivery: new Latencies() }
  readonly #options: KafkaServerOptions
  readonly #services: Omit<Services, 'members'>
  readonly #doors: Doors
  readonly #coordinator: Coordinator
  readonly #connections = new Set<KafkaConnection>()
  readonly #ended = { bytesIn: 0, bytesOut: 0, opened: 0 }
  readonly #listeners: Listener[] = []
  #onEmpty: (() => void) | undefined

  constructor(options: KafkaServerOptions) {
    this.#options = options
    const { topics, clock, transactions, nextProducerId, bans, permissions, scramUsers } = options
    const { groupConfigs } = options
    this.#coordinator = new Coordinator(options)
    this.groups = administrationOf({ ...options, coordinator: this.#coordinator })
    this.#services = {
      ...{ topics, clock, transactions, nextProducerId, permissions, scramUsers },
      groupConfigs,
      quotas: new ClientQuotas(clock, options.quotas),
      coordinator: this.#coordinator,
      shares: {
        ...options.shares,
        sessions: new ShareSessions(),
        recordOf: (group) => this.#coordinator.shareRecordOf(group),
      },
      fetchSessions: new FetchSessions(options.newSessionId),
      onOwners: new Set(),
      counts: { messagesIn: 0, messagesOut: 0, denied: 0 },
      produceLatency: this.latencies.publish,
    }
    const attempts = new FailedAttempts(clock)
    this.#doors = { ...options, attempts, log: new SeldomLog(options.log, clock) }
    options.authenticator.onRevoked((user) => {
      // The first user ends the time in which everybody was let in without rules.
      for (const connection of [...this.#connections]) {
        const { identity } = connection
        const isRevoked = identity.user === user || (user === ANONYMOUS && identity.isUnproved)
        if (isRevoked) connection.destroy()
      }
    })
    bans.onChange(() => {
      for (const connection of [...this.#connections]) connection.checkBan()
    })
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Rejects with ListenError; what was opened before is closed again. */
  async start(): Promise<readonly ListeningEndpoint[]> {
    const { host, ports } = this.#options.entrances
    const endpoints: ListeningEndpoint[] = []
    try {
      for (const entrance of ['kafka', 'kafkas'] as const) {
        const port = ports[entrance]
        if (port === undefined) continue
        const listener = await this.#open(entrance, port)
        this.#listeners.push(listener)
        endpoints.push({ protocol: entrance, host, port: listener.port })
      }
      this.#coordinator.start()
      return endpoints
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  #open(entrance: KafkaListenerName, port: number): Promise<Listener> {
    const { host, tls, proxied } = this.#options.entrances
    const secure = entrance === 'kafkas'
    if (secure && tls === undefined) {
      const message = `${entrance} needs a certificate and a key`
      throw new ListenError(message, { code: 'BAD_CERTIFICATE', host, port, cause: undefined })
    }
    return listen({
      ...{ host, port, tls: secure ? tls : undefined, proxyProtocol: proxied.includes(entrance) },
      onPeer: (peer) => this.#accept(peer, entrance),
      onError: (error) => this.#failed('KAFKA_LISTENER_FAILED', error),
      onCertificates: (error) => error && this.#failed('BAD_CERTIFICATE', error),
    })
  }

  #failed(errId: 'KAFKA_LISTENER_FAILED' | 'BAD_CERTIFICATE', err: Error): void {
    this.#options.log.error({ errId, err }, 'a listener has trouble')
  }

  async stop(): Promise<void> {
    this.#coordinator.stop()
    const stopped = this.#listeners.splice(0).map((listener) => listener.stop())
    for (const connection of [...this.#connections]) connection.end()
    if (this.#connections.size > 0) await this.#empty()
    this.disconnectAll()
    await Promise.all(stopped)
  }

  #empty(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(STOP_MS, resolve)
      this.#onEmpty = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  disconnectAll(): void {
    for (const connection of [...this.#connections]) connection.destroy()
  }

  /** Owners of shards or members of the cluster have changed. */
  ownersChanged(): void {
    this.#coordinator.ownersChanged()
    for (const tell of [...this.#services.onOwners]) tell()
  }

  /** Where a client belongs is decided by what it reads and writes: it cannot be sent elsewhere. */
  moveClients(count: number, { closeOthers }: ClientMove): number {
    if (!closeOthers) return 0
    const moved = [...this.#connections].slice(0, count)
    for (const connection of moved) connection.end()
    return moved.length
  }

  counters(): ProtocolCounters {
    let { bytesIn, bytesOut } = this.#ended
    for (const connection of this.#connections) {
      bytesIn += connection.bytesIn
      bytesOut += connection.bytesOut
    }
    const { messagesIn, messagesOut, denied } = this.#services.counts
    return {
      ...{ connections: this.#connections.size, opened: this.#ended.opened },
      ...{ messagesIn, messagesOut, bytesIn, bytesOut, denied },
      ...{ acknowledged: 0, redelivered: 0, dropped: 0, more: {} },
    }
  }

  *clients(): Generator<ConnectedClient> {
    for (const connection of this.#connections) yield connection.client
  }

  kick(clientId: string): boolean {
    for (const connection of this.#connections) {
      if (connection.id !== clientId) continue
      connection.destroy()
      return true
    }
    return false
  }

  #accept(peer: Peer, entrance: KafkaListenerName): void {
    const { admission, clock, log } = this.#options
    this.#ended.opened++
    if (admission.isOverrun) {
      peer.stream.destroy()
      return
    }
    const way = { entrance, dialled: peer.dialled }
    const connection: KafkaConnection = new KafkaConnection({
      ...{ peer, clock, log, entrance, doors: this.#doors },
      services: { ...this.#services, members: new Members(this.#options.members, way) },
      onClose: () => {
        this.#ended.bytesIn += connection.bytesIn
        this.#ended.bytesOut += connection.bytesOut
        this.#connections.delete(connection)
        if (this.#connections.size === 0) this.#onEmpty?.()
      },
    })
    this.#connections.add(connection)
    connection.start().catch((err: unknown) => {
      log.error({ errId: 'KAFKA_CONNECTION_FAILED', err }, 'a connection could not begin')
      connection.destroy()
    })
  }
}
