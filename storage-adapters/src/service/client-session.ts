/**
 * One client's link: requests run as they arrive and are answered as they finish. The link is not
 * read while too much is unanswered or unsent, so that a client that does not take its answers, or sends
 * faster than the disk, is slowed instead of filling the memory.
 */
import { type Link, type LinkEvents, storage } from '@robust/proto'
import type { Logger } from '../logger.ts'
import type { StorageAdapter } from '../storage-adapter.ts'
import { attachToRequest, decodeFrame, encodeFrame } from '../wire/attachments.ts'
import { frameKind, itemOverheadBytes } from '../wire/channel.ts'
import { FrameSender, isWhole } from '../wire/frame-sender.ts'
import { PartJoiner } from '../wire/part-joiner.ts'
import { type AnswerPart, answer, answerCommit, type Request } from './answer.ts'

/** Per client; the largest commit passes with room for others. */
const unansweredBytesMax = 128 * 1024 * 1024
const unansweredRequestsMax = 16_384
/** An answer in several parts goes on when no more than this waits to be taken. */
const unsentBytesMax = 8 * 1024 * 1024
const pressureMs = 500
/** Smaller changes are not worth a frame. */
const pressureStep = 0.01

export interface ClientSessionOptions {
  readonly adapter: StorageAdapter
  readonly logger: Logger
  /** Once: the client is gone. */
  readonly onClosed: () => void
}

export class ClientSession implements LinkEvents {
  readonly #link: Link
  readonly #adapter: StorageAdapter
  readonly #logger: Logger
  readonly #sender: FrameSender<storage.Response>
  #unansweredRequests = 0
  #unansweredBytes = 0
  #isDraining = false
  #isPaused = false
  #isEnded = false
  #pressureTold = 0
  readonly #pressureTimer: NodeJS.Timeout
  readonly #onClosed: () => void
  #onDrained: (() => void) | undefined
  readonly #onUnexpected = (error: unknown): void =>
    this.#logger.error({ err: error }, 'request failed unexpectedly')
  readonly #joiner = new PartJoiner()

  constructor(link: Link, options: ClientSessionOptions) {
    this.#link = link
    this.#adapter = options.adapter
    this.#logger = options.logger
    this.#onClosed = options.onClosed
    this.#sender = new FrameSender({
      write: ({ messages: responses, part, attached }) =>
        this.#write({ responses, part, pressure: undefined }, attached),
      encode: (response) => storage.Response.encode(response).finish(),
      onIdle: () => this.#onProgress(),
    })
    this.#tellPressure()
    this.#pressureTimer = setInterval(() => {
      const change = Math.abs((this.#adapter.pressure ?? 0) - this.#pressureTold)
      if (change >= pressureStep) this.#tellPressure()
    }, pressureMs)
  }

  frame(_kind: number, payload: Buffer): void {
    // It ends when it has answered what came before; who sent this asks again elsewhere.
    if (this.#isDraining) return
    const { message, next } = decodeFrame(payload)
    const { requests, part } = storage.RequestFrame.decode(message)
    for (const request of requests) {
      attachToRequest(request, next)
      void this.#run(request)
    }
    const joined = part && this.#joiner.add(part)
    if (joined !== undefined) void this.#run(storage.Request.decode(joined))
    if (this.#isOverfull(1)) this.#pause(true)
  }

  drained(): void {
    this.#sender.resume()
  }

  ended(): void {
    void this.drain()
  }

  closed(): void {
    this.#isEnded = true
    clearInterval(this.#pressureTimer)
    this.#sender.close()
    this.#onDrained?.()
    this.#onClosed()
  }

  /** Takes no more requests, answers those that it has, then ends the link. */
  drain(): Promise<void> {
    this.#isDraining = true
    return new Promise((resolve) => {
      this.#onDrained = resolve
      this.#onProgress()
    })
  }

  #pause(isPaused: boolean): void {
    this.#isPaused = isPaused
    if (isPaused) this.#link.pause()
    else this.#link.resume()
  }

  #write(frame: storage.ResponseFrame, attached: readonly Uint8Array[] = []): boolean {
    const message = storage.ResponseFrame.encode(frame).finish()
    return this.#link.send(frameKind, ...encodeFrame(message, attached))
  }

  #tellPressure(): void {
    const pressure = this.#adapter.pressure ?? 0
    this.#pressureTold = pressure
    this.#write({ responses: [], part: undefined, pressure })
  }

  async #run(request: storage.Request): Promise<void> {
    const bytes = requestBytes(request)
    this.#unansweredRequests += 1
    this.#unansweredBytes += bytes
    const { id, kind } = request
    if (kind?.$case === 'commit') {
      const part = await answerCommit(this.#adapter, kind.value, this.#onUnexpected)
      if (!this.#isEnded) this.#send(id, part, false)
    } else await this.#sendParts(id, kind)
    this.#unansweredRequests -= 1
    this.#unansweredBytes -= bytes
    this.#onProgress()
  }

  async #sendParts(id: number, kind: Request): Promise<void> {
    const parts = answer(this.#adapter, kind, this.#onUnexpected)
    let before: AnswerPart | undefined
    for await (const part of parts) {
      if (before) {
        this.#send(id, before, true)
        await this.#sender.room(unsentBytesMax)
        if (this.#isEnded) break
      }
      before = part
    }
    if (before && !this.#isEnded) this.#send(id, before, false)
  }

  #send(id: number, part: AnswerPart, more: boolean): void {
    const { kind, bytes } = part
    if (kind.$case !== 'read' || !isWhole(bytes)) {
      this.#sender.push({ id, more, kind }, bytes)
      return
    }
    const { batches, ...ends } = kind.value
    const value = { ...ends, batches: [], batchBytes: batches.map(({ length }) => length) }
    this.#sender.push({ id, more, kind: { $case: 'read', value } }, bytes, batches)
  }

  #isOverfull(fraction: number): boolean {
    return (
      this.#unansweredBytes + this.#sender.queuedBytes + this.#joiner.bytes >
        unansweredBytesMax * fraction || this.#unansweredRequests > unansweredRequestsMax * fraction
    )
  }

  #onProgress(): void {
    if (this.#isEnded) {
      this.#onDrained?.()
    } else if (this.#isDraining) {
      if (this.#unansweredRequests > 0 || !this.#sender.isIdle) return
      this.#link.end()
      // The client's end is to be heard.
      this.#pause(false)
      this.#onDrained?.()
    } else if (this.#isPaused && !this.#isOverfull(0.5)) {
      this.#pause(false)
    }
  }
}

function requestBytes({ kind }: storage.Request): number {
  if (kind?.$case !== 'commit') return itemOverheadBytes
  let bytes = itemOverheadBytes
  for (const { kind: operation } of kind.value.operations) {
    bytes += itemOverheadBytes
    if (operation?.$case === 'append') bytes += operation.value.batch.length
    if (operation?.$case === 'put') bytes += operation.value.value.length
  }
  return bytes
}
