/** The only file of MQTT that touches a socket: bytes in, back-pressure, bytes out, keep-alive, close. */
import type { Duplex } from 'node:stream'
import type { Timer } from '../../core/ports/clock.ts'
import { readDirectly } from '../shared/direct-read.ts'
import { Outbox } from '../shared/outbox.ts'
import { MqttError } from './codec/mqtt-error.ts'
import { PacketReader } from './codec/packet-reader.ts'
import { CONNECT_TIMEOUT_MS, LINGER_MS } from './limits.ts'
import type { MqttPeer } from './listeners.ts'
import { ReasonCode } from './packets.ts'
import { MqttSession, type SessionServices, type Transport } from './session.ts'

export interface ConnectionOptions {
  readonly services: SessionServices
  readonly onEnd: (connection: MqttConnection) => void
  /** The client has begun to speak HTTP: the connection is no MQTT connection any more. */
  readonly onHttp?: ((begun: Buffer) => void) | undefined
}

/** No MQTT packet that may come first begins with a `G`, and every WebSocket handshake does. */
const HTTP_GET = 0x47

/** What keeps a client from being read. */
const Held = { protocol: 1, rate: 2 } as const

export class MqttConnection implements Transport {
  readonly outbox: Outbox
  readonly peer: MqttPeer
  readonly remote: string
  readonly packetBytesMax: number
  readonly session: MqttSession
  readonly #socket: Duplex
  readonly #reader: PacketReader
  readonly #options: ConnectionOptions
  readonly #onData = (chunk: Buffer): void => this.#receive(chunk)
  readonly #onLost = (): void => this.#lost()
  #keepAliveMs = CONNECT_TIMEOUT_MS
  #activeAtMs: number
  /** Why it is not read, as bits. */
  #held = 0
  #wait: Timer | undefined
  #bytesPaid = 0
  #messagesPaid = 0
  /** Something has arrived since the last check. */
  #active = false
  #resting = false
  #bytesRead = 0
  #closed = false
  #linger: NodeJS.Timeout | undefined

  constructor(peer: MqttPeer, options: ConnectionOptions) {
    const { stream: socket } = peer
    const { services } = options
    this.#socket = socket
    this.#options = options
    this.#activeAtMs = services.clock.nowMs()
    this.outbox = new Outbox(socket)
    this.peer = peer
    this.remote = `${peer.address}:${peer.port}`
    this.packetBytesMax = services.packetBytesMax()
    this.#reader = new PacketReader({ packetBytesMax: this.packetBytesMax })
    this.session = new MqttSession(this, services)
    socket.on('data', this.#onData)
    for (const event of ['error', 'close', 'end']) socket.on(event, this.#onLost)
  }

  get bytesRead(): number {
    return this.#bytesRead
  }

  setReading(reading: boolean): void {
    this.#hold(Held.protocol, !reading)
  }

  /** Reads when nothing holds it back any more. */
  #hold(cause: number, on: boolean): void {
    const before = this.#held
    this.#held = on ? before | cause : before & ~cause
    if (this.#closed) return
    if (this.#held !== 0) {
      this.#reader.paused = true
      this.#socket.pause()
      return
    }
    this.#reader.paused = false
    try {
      this.#reader.resume(this.session)
    } catch (error) {
      this.#unreadable(error)
    }
    // Nothing was read for a while: the client's silence says nothing.
    this.#active = true
    if (!this.#reader.paused && !this.#resting) this.#socket.resume()
  }

  rest(ms: number): void {
    if (this.#resting) return
    this.#resting = true
    this.#socket.pause()
    this.#options.services.clock.after(ms, () => {
      this.#resting = false
      this.#active = true
      if (!this.#reader.paused) this.#socket.resume()
    })
  }

  setKeepAlive(seconds: number): void {
    // One and a half times what the client promised. [MQTT-3.1.2-22]
    this.#keepAliveMs = seconds * 1500
    this.#activeAtMs = this.#options.services.clock.nowMs()
  }

  #checkKeepAlive(nowMs: number): void {
    // Before it is connected a client has so long in all: bytes that dribble in win it no time.
    if (this.#active && this.session.state === 'connected') {
      this.#active = false
      this.#activeAtMs = nowMs
      return
    }
    if (this.#keepAliveMs === 0 || nowMs - this.#activeAtMs <= this.#keepAliveMs) return
    // Nothing is read while the broker holds the client back, so its silence says nothing.
    if (this.#reader.paused || this.#resting) return
    const reasonCode = ReasonCode.keepAliveTimeout
    this.session.close({ reasonCode, reason: 'keep-alive timed out', publishWill: true })
  }

  /** Called about every second. */
  check(nowMs: number): void {
    this.session.checkPace(nowMs)
    this.#checkKeepAlive(nowMs)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#wait?.cancel()
    this.outbox.flush()
    this.outbox.close()
    const socket = this.#socket
    socket.removeAllListeners('data')
    socket.resume()
    socket.end()
    this.#linger = setTimeout(() => socket.destroy(), LINGER_MS)
    this.#linger.unref()
    this.#options.onEnd(this)
  }

  #receive(chunk: Buffer): void {
    if (this.#closed) return
    if (this.#bytesRead === 0) {
      const { onHttp } = this.#options
      if (chunk[0] === HTTP_GET && onHttp !== undefined) {
        this.#handOver(onHttp, chunk)
        return
      }
      if (readDirectly(this.#socket, this.#onData)) this.#socket.off('data', this.#onData)
    }
    this.#bytesRead += chunk.length
    this.#active = true
    try {
      this.#reader.push(chunk, this.session)
    } catch (error) {
      this.#unreadable(error)
    }
    this.#pay()
  }

  /** Who sends faster than it may, or while the broker is short of memory, is read again after a while. */
  #pay(): void {
    const { session } = this
    const bytes = this.#bytesRead - this.#bytesPaid
    const messages = session.published - this.#messagesPaid
    this.#bytesPaid = this.#bytesRead
    this.#messagesPaid = session.published
    const waitMs = session.spend({ messages, bytes })
    if (waitMs === 0 || this.#closed) return
    this.#hold(Held.rate, true)
    this.#wait ??= this.#options.services.clock.after(waitMs, () => {
      this.#wait = undefined
      this.#hold(Held.rate, false)
    })
  }

  #handOver(onHttp: (begun: Buffer) => void, chunk: Buffer): void {
    const socket = this.#socket
    this.#closed = true
    this.outbox.close()
    socket.off('data', this.#onData)
    for (const event of ['error', 'close', 'end']) socket.off(event, this.#onLost)
    this.#options.onEnd(this)
    onHttp(chunk)
  }

  #unreadable(error: unknown): void {
    // The version is known as soon as CONNECT has been looked at, even if it is refused.
    if (this.session.state === 'waiting') this.session.version = this.#reader.version
    if (error instanceof MqttError) this.session.violated(error)
    else this.session.failed(error)
  }

  #lost(): void {
    clearTimeout(this.#linger)
    if (this.#closed) {
      this.#socket.destroy()
      return
    }
    this.session.close({
      reasonCode: ReasonCode.unspecifiedError,
      reason: 'the socket was closed',
      publishWill: true,
      silent: true,
    })
    this.#socket.destroy()
  }
}
