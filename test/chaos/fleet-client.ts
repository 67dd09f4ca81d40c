/**
 * A light MQTT 5 client, of which there can be ten thousand in a process: a durable session with one filter, which
 * acknowledges what it gets, goes where it is told to, and comes back by itself. And a publisher of the same kind.
 */
import { connect, type Socket } from 'node:net'
import { generate, type IConnackPacket, type Packet, parser } from 'mqtt-packet'

export interface FleetOptions {
  readonly clientId: string
  /** Of all brokers. */
  readonly ports: readonly number[]
  /** Of the broker that it begins with. */
  readonly at: number
  readonly filter?: string
  readonly onText?: (text: string) => void
}

const RETRY_MS = 100
const RETRY_SPREAD_MS = 900
const CONNECT_MS = 10_000
const EXPIRY_SECONDS = 3_600
const KEEP_ALIVE_SECONDS = 120
const VERSION = { protocolVersion: 5 } as const

export class FleetClient {
  readonly #options: FleetOptions
  #socket: Socket | undefined
  #at: number
  #timer: NodeJS.Timeout | undefined
  #isStopped = false
  #isReady = false
  #wasConnected = false
  readonly #waiting: (() => void)[] = []
  #pending: { readonly packet: Packet; readonly done: () => void } | undefined
  /** Times that it came back. */
  reconnects = 0
  /** Times that it was told another server. */
  told = 0
  /** Times that its session was not there any more. */
  lostSessions = 0

  constructor(options: FleetOptions) {
    this.#options = options
    this.#at = options.at
    this.#connect()
  }

  get isReady(): boolean {
    return this.#isReady
  }

  /** Resolves when it is subscribed. */
  ready(): Promise<void> {
    if (this.#isReady) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Resolves with the acknowledgement, however many connections that takes. One at a time. */
  publish(topic: string, payload: string): Promise<void> {
    return new Promise((done) => {
      const fields = { cmd: 'publish', topic, payload, qos: 1, messageId: 1 } as const
      const packet: Packet = { ...fields, dup: false, retain: false }
      this.#pending = { packet, done }
      if (this.#isReady) this.#send(packet)
    })
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
    this.#socket?.destroy()
  }

  #connect(): void {
    const { ports, clientId } = this.#options
    const socket = connect({ port: ports[this.#at % ports.length] as number, host: '127.0.0.1' })
    this.#socket = socket
    const packets = parser({ protocolVersion: 5 })
    packets.on('packet', (packet) => this.#received(packet))
    packets.on('error', () => socket.destroy())
    socket.setNoDelay(true)
    socket.on('data', (chunk) => packets.parse(chunk))
    socket.on('error', () => undefined)
    socket.on('close', () => this.#closed(socket))
    socket.setTimeout(CONNECT_MS, () => {
      if (!this.#isReady) socket.destroy()
    })
    this.#send({
      ...{ cmd: 'connect', protocolId: 'MQTT', ...VERSION, clientId, clean: false },
      keepalive: KEEP_ALIVE_SECONDS,
      properties: { sessionExpiryInterval: EXPIRY_SECONDS },
    })
  }

  #send(packet: Packet): void {
    this.#socket?.write(generate(packet, VERSION))
  }

  #received(packet: Packet): void {
    switch (packet.cmd) {
      case 'connack':
        this.#entered(packet)
        break
      case 'suback':
        this.#becomeReady()
        break
      case 'publish':
        if (packet.qos === 1) this.#send({ cmd: 'puback', messageId: packet.messageId as number })
        this.#options.onText?.(packet.payload.toString())
        break
      case 'puback': {
        const { done } = this.#pending ?? {}
        this.#pending = undefined
        done?.()
        break
      }
      case 'disconnect':
        this.#goTo(packet.properties?.serverReference)
        break
      default:
    }
  }

  #entered({ reasonCode = 0, sessionPresent, properties }: IConnackPacket): void {
    if (reasonCode !== 0) {
      this.#goTo(properties?.serverReference)
      this.#socket?.destroy()
      return
    }
    const { filter } = this.#options
    if (this.#wasConnected && !sessionPresent) this.lostSessions++
    this.#wasConnected = true
    if (sessionPresent || filter === undefined) this.#becomeReady()
    else {
      const subscriptions = [{ topic: filter, qos: 1 as const }]
      this.#send({ cmd: 'subscribe', messageId: 1, subscriptions })
    }
  }

  #becomeReady(): void {
    this.#isReady = true
    for (const resolve of this.#waiting.splice(0)) resolve()
    if (this.#pending !== undefined) this.#send(this.#pending.packet)
  }

  #goTo(server: string | undefined): void {
    const { ports } = this.#options
    const port = Number(server?.split(':').at(-1))
    if (server !== undefined) this.told++
    this.#at = ports.includes(port) ? ports.indexOf(port) : this.#at + 1
  }

  #closed(socket: Socket): void {
    if (socket !== this.#socket || this.#isStopped) return
    if (this.#isReady) this.reconnects++
    // Nobody said where to go: the next one.
    else this.#at++
    this.#isReady = false
    const waitMs = RETRY_MS + Math.random() * RETRY_SPREAD_MS
    this.#timer = setTimeout(() => this.#connect(), waitMs)
  }
}
