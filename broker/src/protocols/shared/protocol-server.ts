/** What the broker's composition asks of every protocol. */

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
  /** Further counters of the protocol, by name. */
  readonly more: Readonly<Record<string, number>>
}

export interface ProtocolServer {
  /** Opens the listeners. Rejects with ListenError. */
  start(): Promise<readonly ListeningEndpoint[]>
  /** Tells every client, closes every connection, and resolves when the owners of their sessions know. */
  stop(): Promise<void>
  /** The broker has lost its place in the cluster: every connection ends now. */
  disconnectAll(reason: string): void
  counters(): ProtocolCounters
}

/** What a protocol logs with. Every warning and error carries `errId`. */
export interface ProtocolLog {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
