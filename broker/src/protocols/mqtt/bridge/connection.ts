/** The socket of a bridge, to another broker: bytes in, bytes out, keep-alive, one end. */
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Clock, Timer } from '../../../core/ports/clock.ts'
import { Outbox } from '../../shared/outbox.ts'
import { encode } from '../codec/encode.ts'
import { PacketReader, type PacketSink } from '../codec/packet-reader.ts'
import type { Packet } from '../packets.ts'
import type { BridgeDefinition } from './definition.ts'

export interface BridgeConnectionOptions {
  readonly definition: BridgeDefinition
  readonly packetBytesMax: number
  readonly clock: Clock
  /** Must be ready before the first packet; may be set to stop the reader after a packet. */
  readonly sink: PacketSink
}

const CONNECT_MS = 10_000
const LINGER_MS = 2_000

export class BridgeConnection {
  readonly outbox: Outbox
  /** Why it has ended; never rejects. */
  readonly ended: Promise<string>
  readonly #socket: Socket
  readonly #options: BridgeConnectionOptions
  readonly #reader: PacketReader
  readonly #opened: Promise<void>
  #end: (reason: string) => void = () => undefined
  #pings: Timer | undefined
  #heardAtMs: number
  #isResting = false

  constructor(options: BridgeConnectionOptions) {
    const { definition, packetBytesMax, clock } = options
    const { host, port, tls } = definition
    this.#options = options
    this.#reader = new PacketReader({ packetBytesMax, from: 'server' })
    this.#reader.version = definition.protocol
    this.#heardAtMs = clock.nowMs()
    const servername = /^[\d.]+$|:/.test(host) ? undefined : host
    this.#socket =
      tls === undefined
        ? connect({ host, port, noDelay: true })
        : connectTls({
            ...{ host, port, rejectUnauthorized: !tls.isUnchecked },
            ...(servername !== undefined && { servername }),
            ...(tls.authorities !== undefined && { ca: tls.authorities }),
          })
    this.outbox = new Outbox(this.#socket)
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
    this.#opened = this.#listen(tls === undefined ? 'connect' : 'secureConnect')
  }

  /** Rejects when the other side cannot be reached. */
  open(): Promise<void> {
    return this.#opened
  }

  #listen(event: string): Promise<void> {
    const socket = this.#socket
    const { clock } = this.#options
    socket.on('data', (chunk) => this.#receive(chunk))
    socket.on('error', (error) => this.close(error.message))
    socket.on('close', () => this.close('the other side closed the connection'))
    return new Promise((resolve, reject) => {
      const timer = clock.after(CONNECT_MS, () => this.close('no connection within 10 s'))
      socket.once(event, () => {
        timer.cancel()
        this.#heardAtMs = clock.nowMs()
        this.#schedulePing()
        resolve()
      })
      void this.ended.then((reason) => {
        timer.cancel()
        reject(new Error(reason))
      })
    })
  }

  send(packet: Packet): void {
    const bytes = encode(packet, this.#options.definition.protocol)
    this.sendBytes(bytes)
  }

  sendBytes(bytes: Buffer): void {
    this.outbox.slice(bytes, 0, bytes.length)
  }

  /** Stops the reader after the packet that it is at. */
  pause(): void {
    this.#reader.paused = true
    this.#socket.pause()
  }

  resume(): void {
    this.#heardAtMs = this.#options.clock.nowMs()
    this.#guarded(() => this.#reader.resume(this.#options.sink))
    if (!this.#reader.paused && !this.#isResting) this.#socket.resume()
  }

  rest(ms: number): void {
    if (this.#isResting) return
    this.#isResting = true
    this.#socket.pause()
    this.#options.clock.after(ms, () => {
      this.#isResting = false
      if (!this.#reader.paused) this.resume()
    })
  }

  /** What is queued is sent. Idempotent: the first reason counts. */
  close(reason: string): void {
    this.#pings?.cancel()
    this.outbox.flush()
    this.outbox.close()
    this.#end(reason)
    const socket = this.#socket
    socket.end()
    this.#options.clock.after(LINGER_MS, () => socket.destroy())
  }

  #receive(chunk: Buffer): void {
    this.#heardAtMs = this.#options.clock.nowMs()
    this.#guarded(() => this.#reader.push(chunk, this.#options.sink))
  }

  #guarded(read: () => void): void {
    try {
      read()
    } catch (error) {
      this.close(error instanceof Error ? error.message : String(error))
    }
  }

  /** Twice as often as was promised; nothing heard for one and a half of it is an end. */
  #schedulePing(): void {
    const { clock, definition } = this.#options
    const periodMs = definition.keepAliveSeconds * 1_000
    if (periodMs === 0) return
    this.#pings = clock.after(periodMs / 2, () => {
      const isHeld = this.#reader.paused || this.#isResting
      if (!isHeld && clock.nowMs() - this.#heardAtMs > periodMs * 1.5) {
        this.close('the other side is silent')
        return
      }
      this.send({ kind: 'pingreq' })
      this.#schedulePing()
    })
  }
}
