/**
 * The only file that touches sockets: requests as they come, answers in the same order. Requests to produce begin
 * at once when nothing else is before them, so that what a producer sends in a row is one commit.
 */
import type { Clock, Timer } from '../../core/ports/clock.ts'
import type { Peer } from '../shared/listener.ts'
import type { ConnectedClient, ProtocolLog } from '../shared/protocol-server.ts'
import type { Services } from './call.ts'
import { Frames } from './frames.ts'
import { ClientIdentity, type Doors } from './identity.ts'
import {
  AUTHENTICATION_MS,
  REQUEST_BYTES_AT_ONCE,
  REQUEST_BYTES_MAX,
  REQUESTS_AT_ONCE,
  SASL_REQUEST_BYTES_MAX,
} from './limits.ts'
import { type Asked, ask, askRaw, isOfClient } from './session.ts'

export interface KafkaConnectionOptions {
  readonly peer: Peer
  readonly entrance: string
  readonly services: Services
  readonly doors: Doors
  readonly clock: Clock
  readonly log: ProtocolLog
  readonly onClose: () => void
}

/** While the broker is short of memory sockets are read this often, ms. */
const SLOW_MS = 100
const RESUME_SHARE = 0.5

export class KafkaConnection {
  readonly id: string
  readonly identity: ClientIdentity
  readonly #options: KafkaConnectionOptions
  readonly #frames = new Frames(() =>
    this.identity.isIn ? REQUEST_BYTES_MAX : SASL_REQUEST_BYTES_MAX,
  )
  readonly #gone = new AbortController()
  readonly #connectedAtMs: number
  /** The name that the client gives itself. */
  #clientId = ''
  /** Resolves when the last of the requests so far is answered. */
  #last: Promise<void> = Promise.resolve()
  #waiting = 0
  #waitingBytes = 0
  /** Of these, those that must be answered before another begins. */
  #blocking = 0
  #isPaused = false
  #isEnding = false
  #requests = 0
  /** 0: it is read. */
  #hushedUntilMs = 0
  #hushTimer: Timer | undefined

  constructor(options: KafkaConnectionOptions) {
    this.#options = options
    const { peer, clock, doors, entrance } = options
    this.id = `kafka-${peer.address}:${peer.port}`
    this.identity = new ClientIdentity({ ...doors, id: this.id, entrance, peer })
    this.#connectedAtMs = clock.wallMs()
    peer.stream.once('close', () => {
      this.#gone.abort()
      this.#hushTimer?.cancel()
      this.identity.leave()
      options.onClose()
    })
    peer.stream.on('error', () => peer.stream.destroy())
  }

  get bytesIn(): number {
    return bytesOf(this.#options.peer.stream).bytesRead ?? 0
  }

  get bytesOut(): number {
    return bytesOf(this.#options.peer.stream).bytesWritten ?? 0
  }

  get client(): ConnectedClient {
    const { peer, entrance } = this.#options
    return {
      clientId: this.id,
      user: this.identity.user,
      protocol: this.#clientId === '' ? 'Kafka' : `Kafka (${this.#clientId})`,
      remote: `${peer.address}:${peer.port}`,
      entrance,
      connectedAtMs: this.#connectedAtMs,
      ...{ keepAliveSeconds: 0, expirySeconds: 0, subscriptions: [] },
      ...{ messagesIn: this.#requests, messagesOut: this.#requests - this.#waiting, dropped: 0 },
    }
  }

  /** Begins to read, unless nobody may come in: it is closed then, as there is no word for it. */
  async start(): Promise<void> {
    const { peer, clock, log } = this.#options
    const mayStay = await this.identity.greet()
    if (peer.stream.destroyed) return
    if (!mayStay) {
      log.debug({ remote: peer.address }, 'a client is not let in')
      this.destroy()
      return
    }
    if (!this.identity.isIn) {
      const timer = clock.after(AUTHENTICATION_MS, () => this.identity.isIn || this.destroy())
      peer.stream.once('close', () => timer.cancel())
    }
    peer.stream.on('data', (chunk: Buffer) => this.#take(chunk))
  }

  /** It goes if it is banned now. */
  checkBan(): void {
    if (this.identity.isBanned()) this.destroy()
  }

  /** No more requests; the connection ends with its last answer. */
  end(): void {
    this.#isEnding = true
    this.#gone.abort()
    if (this.#waiting === 0) this.destroy()
  }

  destroy(): void {
    this.#options.peer.stream.destroy()
  }

  #take(chunk: Buffer): void {
    if (this.#isEnding) return
    try {
      for (const frame of this.#frames.take(chunk)) {
        this.#requests++
        const asked = this.identity.isRaw
          ? askRaw(frame, this.#clientId)
          : ask(this.#options.services, frame)
        this.#name(asked.clientId)
        this.#begin(asked, frame.length)
      }
    } catch (error) {
      this.#fail(error)
      return
    }
    this.#holdBack()
  }

  #name(clientId: string): void {
    if (clientId === this.#clientId) return
    this.#clientId = clientId
    if (this.identity.isBanned(clientId)) this.destroy()
  }

  #begin(asked: Asked, bytes: number): void {
    this.#waiting++
    this.#waitingBytes += bytes
    const isBlocking = !asked.isPipelined || this.#blocking > 0
    if (isBlocking) this.#blocking++
    const caller = {
      ...{ identity: this.identity, gone: this.#gone.signal },
      remote: this.#options.peer.address,
      hush: (ms: number) => this.#hush(ms),
    }
    const answer = (): Promise<Buffer | undefined> => asked.answer(caller)
    const before = this.#last
    const answered = isBlocking ? before.then(answer) : answer()
    // Whoever awaits it comes later than it may fail.
    answered.catch(() => undefined)
    this.#last = before
      .then(() => answered)
      .then(
        (frame) => this.#send(frame),
        (error: unknown) => this.#fail(error),
      )
      .then(() => {
        this.#waiting--
        this.#waitingBytes -= bytes
        if (isBlocking) this.#blocking--
        if (this.identity.isOver) this.#close()
        if (this.#isEnding && this.#waiting === 0) this.destroy()
        this.#goOn()
      })
  }

  /** Takes nothing more, and ends when the client has what it was sent. */
  #close(): void {
    const { stream } = this.#options.peer
    stream.removeAllListeners('data')
    this.#gone.abort()
    stream.end(() => stream.destroy())
  }

  /** Resolves when the client takes more: whoever does not read its answers is not given others. */
  #send(frame: Buffer | undefined): Promise<void> | undefined {
    const { stream } = this.#options.peer
    if (frame === undefined || stream.destroyed || stream.write(frame)) return undefined
    return new Promise((resolve) => {
      const goOn = (): void => {
        stream.off('drain', goOn)
        stream.off('close', goOn)
        resolve()
      }
      stream.once('drain', goOn)
      stream.once('close', goOn)
    })
  }

  /** Where the client cannot be told, or would not know what is meant, the connection ends. */
  #fail(error: unknown): void {
    const { peer, log } = this.#options
    const of = { remote: peer.address, client: this.#clientId }
    if (isOfClient(error)) log.debug({ ...of, reason: error.message }, 'a connection is closed')
    else log.error({ errId: 'KAFKA_REQUEST_FAILED', ...of, err: error }, 'a request failed')
    this.destroy()
  }

  /** The client was told to wait for so long: what it sends nevertheless is not read before (KIP-219). */
  #hush(ms: number): void {
    const { peer, clock } = this.#options
    const untilMs = clock.nowMs() + ms
    if (untilMs <= this.#hushedUntilMs) return
    this.#hushedUntilMs = untilMs
    peer.stream.pause()
    this.#hushTimer?.cancel()
    this.#hushTimer = clock.after(ms, () => {
      // By the timer alone: it may run a little before the clock says so.
      this.#hushedUntilMs = 0
      this.#resume()
    })
  }

  #resume(): void {
    if (!this.#isPaused && this.#hushedUntilMs === 0) this.#options.peer.stream.resume()
  }

  #holdBack(): void {
    const { peer, doors, clock } = this.#options
    if (doors.admission.isOutOfMemory) {
      peer.stream.pause()
      clock.after(SLOW_MS, () => this.#resume())
    }
    const isMuch = this.#waiting >= REQUESTS_AT_ONCE || this.#waitingBytes >= REQUEST_BYTES_AT_ONCE
    if (!isMuch || this.#isPaused) return
    this.#isPaused = true
    peer.stream.pause()
  }

  #goOn(): void {
    if (!this.#isPaused) return
    if (this.#waiting > REQUESTS_AT_ONCE * RESUME_SHARE) return
    if (this.#waitingBytes > REQUEST_BYTES_AT_ONCE * RESUME_SHARE) return
    this.#isPaused = false
    this.#resume()
  }
}

function bytesOf(stream: object): { readonly bytesRead?: number; readonly bytesWritten?: number } {
  return stream
}
