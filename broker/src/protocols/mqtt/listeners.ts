/**
 * Where MQTT clients come in: TCP, TLS, WebSocket, secure WebSocket and a Unix socket. The TCP and TLS ports
 * take WebSocket clients too.
 */

import type { TlsOptions } from '../../security/tls-certificates.ts'
import { ListenError, type Listener, listen, type Peer } from '../shared/listener.ts'
import type { ListeningEndpoint, ProtocolLog } from '../shared/protocol-server.ts'
import { WebSocketUpgrade } from '../shared/websocket.ts'

export type MqttListenerName = 'mqtt' | 'mqtts' | 'ws' | 'wss'

/** A client, and which listener it came by: it can be sent to the same one of another broker. */
export interface MqttPeer extends Peer {
  readonly entrance: MqttListenerName
}

export interface MqttListenersOptions {
  readonly host: string
  /** Undefined: not offered. 0 takes a free port. */
  readonly ports: Readonly<Record<MqttListenerName, number | undefined>>
  readonly unixSocket: string | undefined
  /** For `mqtts` and `wss`. */
  readonly tls: TlsOptions | undefined
  /** Listeners behind a load balancer that sends PROXY headers. */
  readonly proxied: readonly string[]
  readonly messageBytesMax: number
  readonly log: ProtocolLog
  /** `onHttp` is there where the client may turn out to speak WebSocket. */
  readonly onPeer: (peer: MqttPeer, onHttp: ((begun: Buffer) => void) | undefined) => void
}

const NAMES: readonly MqttListenerName[] = ['mqtt', 'mqtts', 'ws', 'wss']

export class MqttListeners {
  readonly #options: MqttListenersOptions
  readonly #upgrade: WebSocketUpgrade
  /** Of WebSocket clients, by the connection that carries them. */
  readonly #carriers = new WeakMap<object, MqttPeer>()
  readonly #listeners: Listener[] = []

  constructor(options: MqttListenersOptions) {
    this.#options = options
    this.#upgrade = new WebSocketUpgrade({
      // [MQTT-6.0.0-3], and the name that MQTT 3.1 clients used.
      subprotocols: ['mqtt', 'mqttv3.1'],
      paths: ['/mqtt', '/'],
      messageBytesMax: options.messageBytesMax,
      onStream: (stream, from) => {
        const carrier = this.#carriers.get(from)
        if (carrier === undefined) stream.destroy()
        else options.onPeer({ ...carrier, stream }, undefined)
      },
    })
  }

  /** Rejects with ListenError; what was opened before is closed again. */
  async start(): Promise<readonly ListeningEndpoint[]> {
    const { host, ports, unixSocket } = this.#options
    const endpoints: ListeningEndpoint[] = []
    try {
      for (const name of NAMES) {
        const port = ports[name]
        if (port === undefined) continue
        const listener = await this.#open(name, port)
        endpoints.push({ protocol: name, host, port: listener.port })
      }
      if (unixSocket !== undefined) await this.#open('mqtt', 0, unixSocket)
      return endpoints
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  /** No new clients. */
  async stop(): Promise<void> {
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.stop()))
  }

  async #open(name: MqttListenerName, port: number, path?: string): Promise<Listener> {
    const { host, tls, proxied, log } = this.#options
    const secure = name === 'mqtts' || name === 'wss'
    if (secure && tls === undefined) {
      const message = `${name} needs a certificate and a key`
      throw new ListenError(message, { code: 'BAD_CERTIFICATE', host, port, cause: undefined })
    }
    const listener = await listen({
      host,
      port,
      path,
      tls: secure ? tls : undefined,
      proxyProtocol: path === undefined && proxied.includes(name),
      onPeer: (peer) => this.#arrived(name, peer),
      onError: (err) =>
        log.error({ err, listener: name, errId: 'MQTT_LISTENER_FAILED' }, 'a listener failed'),
      onCertificates: (err) => {
        if (err === undefined) log.info({ listener: name }, 'certificates were read again')
        else {
          const fields = { err, listener: name, errId: 'BAD_CERTIFICATE' }
          log.error(fields, 'new certificates cannot be used; the old ones stay')
        }
      },
    })
    this.#listeners.push(listener)
    return listener
  }

  #arrived(name: MqttListenerName, arrived: Peer): void {
    const peer = { ...arrived, entrance: name }
    this.#carriers.set(peer.stream, peer)
    if (name === 'ws' || name === 'wss') this.#upgrade.accept(peer.stream)
    else this.#options.onPeer(peer, (begun) => this.#upgrade.accept(peer.stream, begun))
  }
}
