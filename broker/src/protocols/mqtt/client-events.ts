/**
 * What happens to clients, published at `$SYS/brokers/NODE/clients/CLIENT/EVENT` as JSON: connected,
 * disconnected, slow, caught-up, flapping. The fields are called as EMQX calls them.
 */
import type { Message } from '../../core/message.ts'
import type { Clock } from '../../core/ports/clock.ts'
import { systemMessage } from './mapping.ts'
import type { MqttSession } from './session.ts'

export interface ClientEventsOptions {
  readonly node: string
  readonly clock: Clock
  readonly isOn: () => boolean
  readonly publish: (message: Message) => void
}

type EventName = 'connected' | 'disconnected' | 'slow' | 'caught-up' | 'flapping'

export class ClientEvents {
  readonly #options: ClientEventsOptions

  constructor(options: ClientEventsOptions) {
    this.#options = options
  }

  connected(session: MqttSession): void {
    const { connected } = session
    if (connected === undefined) return
    const { connect, expirySeconds } = connected
    this.#tell('connected', session, {
      proto_ver: connect.version,
      keepalive: connect.keepAliveSeconds,
      clean_start: connect.cleanStart,
      expiry_interval: expirySeconds,
      connected_at: this.#options.clock.wallMs(),
    })
  }

  disconnected(session: MqttSession): void {
    if (session.connected === undefined) return
    const { reason, reasonCode } = session.ending
    const disconnected_at = this.#options.clock.wallMs()
    this.#tell('disconnected', session, { reason, reason_code: reasonCode, disconnected_at })
  }

  pace(session: MqttSession, name: 'slow' | 'caught-up'): void {
    this.#tell(name, session, {})
  }

  flapping(session: MqttSession, clientId: string): void {
    if (!this.#options.isOn()) return
    this.#publish('flapping', clientId, { ipaddress: session.transport.peer.address })
  }

  #tell(name: EventName, session: MqttSession, more: object): void {
    if (!this.#options.isOn()) return
    const username = session.connected?.user ?? null
    const ipaddress = session.transport.peer.address
    this.#publish(name, session.clientId, { username, ipaddress, ...more })
  }

  #publish(name: EventName, clientId: string, fields: object): void {
    const { node, clock, publish } = this.#options
    // A name may contain what a topic may not.
    const level = clientId.replace(/[%+#/]/g, encodeURIComponent)
    const address = `$SYS/brokers/${node}/clients/${level}/${name}`
    const payload = JSON.stringify({ clientid: clientId, node, ...fields })
    publish(systemMessage(address, payload, clock.wallMs()))
  }
}
