/** The only file of MQTT that touches a socket: bytes in, back-pressure, bytes out, keep-alive, close. */
import type { Socket } from 'node:net'
import { Outbox } from '../shared/outbox.ts'
import { MqttError } from './codec/mqtt-error.ts'
import { PacketReader } from './codec/packet-reader.ts'
import { CONNECT_TIMEOUT_MS, LINGER_MS } from './limits.ts'
import { ReasonCode } from './packets.ts'
import { MqttSession, type SessionServices, type Transport } from './session.ts'

export interface ConnectionOptions {
  readonly services: SessionServices
  readonly onEnd: (connection: MqttConnection) => void
}

export class MqttConnection implements Transport {
  readonly outbox: Outbox
  readonly remote: string
  readonly packetBytesMax: number
  readonly session: MqttSession
  readonly #socket: Socket
  readonly #reader: PacketReader
  readonly #options: ConnectionOptions
  #keepAliveMs = CONNECT_TIMEOUT_MS
  #activeAtMs: number
  /** Something has arrived since the last check. */
  #active = false
  #bytesRead = 0
  #closed = false
  #linger: NodeJS.Timeout | undefined

  constructor(socket: Socket, options: ConnectionOptions) {
    const { services } = options
    this.#socket = socket
    this.#options = options
    this.#activeAtMs = services.clock.nowMs()
    this.outbox = new Outbox(socket)
    this.remote = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`
    this.packetBytesMax = services.packetBytesMax()
    this.#reader = new PacketReader({ packetBytesMax: this.packetBytesMax })
    this.session = new MqttSession(this, services)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('error', () => this.#lost())
    socket.on('close', () => this.#lost())
    socket.on('end', () => this.#lost())
  }

  get bytesRead(): number {
    return this.#bytesRead
  }

  setReading(reading: boolean): void {
    this.#reader.paused = !reading
    if (!reading) {
      this.#socket.pause()
      return
    }
    try {
      this.#reader.resume(this.session)
    } catch (error) {
      this.#unreadable(error)
    }
    if (!this.#reader.paused) this.#socket.resume()
  }

  setKeepAlive(seconds: number): void {
    // One and a half times what the client promised. [MQTT-3.1.2-22]
    this.#keepAliveMs = seconds * 1500
    this.#activeAtMs = this.#options.services.clock.nowMs()
  }

  /** Called about every second. */
  checkKeepAlive(nowMs: number): void {
    if (this.#active) {
      this.#active = false
      this.#activeAtMs = nowMs
      return
    }
    if (this.#keepAliveMs === 0 || nowMs - this.#activeAtMs <= this.#keepAliveMs) return
    // Nothing is read while the broker holds the client back, so its silence says nothing.
    if (this.session.state === 'connecting' || this.#reader.paused) return
    const reasonCode = ReasonCode.keepAliveTimeout
    this.session.close({ reasonCode, reason: 'keep-alive timed out', publishWill: true })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
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
    this.#bytesRead += chunk.length
    this.#active = true
    try {
      this.#reader.push(chunk, this.session)
    } catch (error) {
      this.#unreadable(error)
    }
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
