/** Kafka: its listener and its connections. */
import type { Clock } from '../../core/ports/clock.ts'
import type { GroupAdministration } from '../../core/ports/group-administration.ts'
import { Latencies } from '../../core/ports/telemetry.ts'
import type { CommittedOffsets } from '../../core/topics/committed-offsets.ts'
import type { TopicLogs } from '../../core/topics/topic-logs.ts'
import { ANONYMOUS, type Authenticator } from '../../security/authenticator.ts'
import type { AdmissionPort } from '../shared/admission.ts'
import { type Listener, listen, type Peer } from '../shared/listener.ts'
import type {
  ClientMove,
  ConnectedClient,
  ListeningEndpoint,
  ProtocolCounters,
  ProtocolLatencies,
  ProtocolLog,
  ProtocolServer,
} from '../shared/protocol-server.ts'
import type { Services } from './call.ts'
import { KafkaConnection } from './connection.ts'
import { administrationOf } from './groups/administration.ts'
import { Coordinator } from './groups/coordinator.ts'
import { Members, type MembersOptions } from './mapping.ts'

export type KafkaListenerName = 'kafka'

export interface KafkaServerOptions {
  readonly host: string
  /** Undefined: not offered. */
  readonly port: number | undefined
  /** The load balancer in front sends PROXY headers. */
  readonly proxied: boolean
  readonly topics: TopicLogs
  readonly offsets: CommittedOffsets
  readonly members: MembersOptions
  readonly nextProducerId: () => number
  readonly newMemberId: (groupInstanceId: string | null) => string
  readonly offsetsRetentionMs: () => number
  readonly authenticator: Pick<Authenticator, 'authenticate' | 'onRevoked'>
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
  readonly #services: Services
  readonly #coordinator: Coordinator
  readonly #connections = new Set<KafkaConnection>()
  readonly #ended = { bytesIn: 0, bytesOut: 0, opened: 0 }
  #listener: Listener | undefined
  #onEmpty: (() => void) | undefined

  constructor(options: KafkaServerOptions) {
    this.#options = options
    const { topics, clock, nextProducerId } = options
    this.#coordinator = new Coordinator(options)
    this.groups = administrationOf({ coordinator: this.#coordinator, topics })
    this.#services = {
      ...{ topics, clock, nextProducerId },
      members: new Members(options.members),
      coordinator: this.#coordinator,
      onOwners: new Set(),
      counts: { messagesIn: 0, messagesOut: 0, denied: 0 },
      produceLatency: this.latencies.publish,
    }
    options.authenticator.onRevoked((user) => {
      // The first user ends the time in which everybody was let in without rules.
      for (const connection of [...this.#connections]) {
        if (connection.user === user || user === ANONYMOUS) connection.destroy()
      }
    })
  }

  get connections(): number {
    return this.#connections.size
  }

  async start(): Promise<readonly ListeningEndpoint[]> {
    const { host, port, proxied, log } = this.#options
    if (port === undefined) return []
    this.#listener = await listen({
      ...{ host, port, proxyProtocol: proxied },
      onPeer: (peer) => this.#accept(peer),
      onError: (err) =>
        log.error({ errId: 'KAFKA_LISTENER_FAILED', err }, 'a listener has trouble'),
    })
    this.#coordinator.start()
    return [{ protocol: 'kafka', host, port: this.#listener.port }]
  }

  async stop(): Promise<void> {
    const stopped = this.#listener?.stop()
    this.#coordinator.stop()
    for (const connection of [...this.#connections]) connection.end()
    if (this.#connections.size > 0) await this.#empty()
    this.disconnectAll()
    await stopped
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

  #accept(peer: Peer): void {
    const { admission, clock, authenticator, log } = this.#options
    this.#ended.opened++
    if (admission.isOverrun) {
      peer.stream.destroy()
      return
    }
    const connection: KafkaConnection = new KafkaConnection({
      ...{ peer, admission, clock, log, entrance: 'kafka', services: this.#services },
      authenticate: (credentials) => authenticator.authenticate(credentials),
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
