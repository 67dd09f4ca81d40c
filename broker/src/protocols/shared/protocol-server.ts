/** What the broker's composition asks of every protocol. */
import type { Subscription } from '../../core/message.ts'
import type { GroupAdministration } from '../../core/ports/group-administration.ts'
import type { Latencies } from '../../core/ports/telemetry.ts'

export interface ListeningEndpoint {
  readonly protocol: string
  readonly host: string
  readonly port: number
}

export interface ProtocolCounters {
  readonly connections: number
  readonly messagesIn: number
  readonly messagesOut: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Since the broker began. */
  readonly opened: number
  readonly acknowledged: number
  readonly redelivered: number
  /** Messages that a client was too slow for, that it does not take, or that expired. */
  readonly dropped: number
  /** Messages that their clients may not publish. */
  readonly denied: number
  /** Further counters of the protocol, by name. */
  readonly more: Readonly<Record<string, number>>
}

export interface ProtocolLatencies {
  /** From a message that is acknowledged to its acknowledgement. */
  readonly publish: Latencies
  /** From when a broker took such a message to when it was sent to a client for the first time. */
  readonly delivery: Latencies
}

export interface ClientMove {
  /** `host:port` of this protocol on other brokers, to be named in turn. */
  readonly servers: readonly string[]
  /** The same for clients that came by another entrance of the protocol, such as TLS. */
  readonly serversBy: (entrance: string) => readonly string[]
  /** Also clients that cannot be told where to go; they are closed. */
  readonly closeOthers: boolean
}

/** A connected client, as operators see it. */
export interface ConnectedClient {
  readonly clientId: string
  readonly user: string
  /** And its version. */
  readonly protocol: string
  readonly remote: string
  readonly entrance: string
  /** Wall clock, ms. */
  readonly connectedAtMs: number
  readonly keepAliveSeconds: number
  readonly expirySeconds: number
  readonly subscriptions: readonly Subscription[]
  readonly messagesIn: number
  readonly messagesOut: number
  readonly dropped: number
}

export interface ProtocolServer {
  readonly protocol: string
  /** Open connections; cheap to ask. */
  readonly connections: number
  readonly latencies: ProtocolLatencies
  /** Opens the listeners. Rejects with ListenError. */
  start(): Promise<readonly ListeningEndpoint[]>
  /** Tells every client, closes every connection, and resolves when the owners of their sessions know. */
  stop(): Promise<void>
  /** The broker has lost its place in the cluster: every connection ends now. */
  disconnectAll(reason: string): void
  /**
   * Ends up to `count` connections, one after the other from where it ended the last time, telling clients
   * which server to use instead. Answers how many; fewer than asked for means that there are no more.
   */
  moveClients(count: number, move: ClientMove): number
  counters(): ProtocolCounters
  clients(): Iterable<ConnectedClient>
  /** Ends the client's connection, by the will of an operator. False: it is not connected here. */
  kick(clientId: string): boolean
  /** Absent: the protocol has no groups of consumers. */
  readonly groups?: GroupAdministration
}

/** What a protocol logs with. Every warning and error carries `errId`. */
export interface ProtocolLog {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
