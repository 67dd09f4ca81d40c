/**
 * One client's stream: requests run as they arrive and are answered as they finish. The stream is not
 * read while too much is unanswered or unsent, so that a client that does not take its answers, or sends
 * faster than the disk, is slowed instead of filling the memory.
 */
import type { ServerDuplexStream } from '@grpc/grpc-js'
import { storage } from '@robust/proto'
import type { Logger } from '../logger.ts'
import type { StorageAdapter } from '../storage-adapter.ts'
import { itemOverheadBytes, protocolVersion } from '../wire/channel.ts'
import { FrameSender } from '../wire/frame-sender.ts'
import { PartJoiner } from '../wire/part-joiner.ts'
import { type AnswerPart, answer } from './answer.ts'

export type ClientStream = ServerDuplexStream<storage.RequestFrame, storage.ResponseFrame>

/** Per client; the largest commit passes with room for others. */
const unansweredBytesMax = 128 * 1024 * 1024
const unansweredRequestsMax = 16_384
/** An answer in several parts goes on when no more than this waits to be taken. */
const unsentBytesMax = 8 * 1024 * 1024
const pressureMs = 500
/** Smaller changes are not worth a frame. */
const pressureStep = 0.01

export class ClientSession {
  readonly #stream: ClientStream
  readonly #adapter: StorageAdapter
  readonly #logger: Logger
  readonly #sender: FrameSender<storage.Response>
  #unansweredRequests = 0
  #unansweredBytes = 0
  #isDraining = false
  #isEnded = false
  #pressureTold = 0
  #pressureTimer: NodeJS.Timeout | undefined
  readonly #joiner = new PartJoiner()

  constructor(stream: ClientStream, options: { adapter: StorageAdapter; logger: Logger }) {
    this.#stream = stream
    this.#adapter = options.adapter
    this.#logger = options.logger
    this.#sender = new FrameSender({
      write: (responses, part) => this.#write({ responses, part }),
      encode: (response) => storage.Response.encode(response).finish(),
      onIdle: () => this.#onProgress(),
    })
  }

  /** `onEnd` is called once, when the client is gone. */
  start(onEnd: () => void): void {
    const end = () => {
      if (this.#isEnded) return
      this.#isEnded = true
      clearInterval(this.#pressureTimer)
      this.#sender.close()
      onEnd()
    }
    this.#stream.on('data', (frame: storage.RequestFrame) => this.#onFrame(frame))
    this.#stream.on('drain', () => this.#sender.resume())
    this.#stream.on('cancelled', end)
    this.#stream.on('error', end)
    this.#stream.on('finish', end)
    this.#stream.on('close', end)
    this.#stream.on('end', () => this.drain())
    const { capabilities } = this.#adapter
    this.#write({ hello: { protocolVersion, capabilities }, pressure: this.#pressure() })
    this.#pressureTimer = setInterval(() => this.#tellPressure(), pressureMs)
  }

  /** Takes no more requests, answers those that it has, then ends the stream. */
  drain(): void {
    this.#isDraining = true
    this.#stream.pause()
    this.#onProgress()
  }

  #onFrame(frame: storage.RequestFrame): void {
    for (const request of frame.requests) void this.#run(request)
    if (frame.part) this.#onPart(frame.part)
    if (this.#isOverfull(1)) this.#stream.pause()
  }

  #onPart(part: storage.Part): void {
    try {
      const joined = this.#joiner.add(part)
      if (joined) void this.#run(storage.Request.decode(joined))
    } catch (error) {
      this.#logger.error({ err: error }, 'a message in parts is not understood')
      this.#stream.destroy()
    }
  }

  #write(frame: Partial<storage.ResponseFrame>): boolean {
    return this.#stream.write({
      hello: undefined,
      responses: [],
      part: undefined,
      pressure: undefined,
      ...frame,
    })
  }

  #pressure(): number {
    this.#pressureTold = this.#adapter.pressure ?? 0
    return this.#pressureTold
  }

  #tellPressure(): void {
    if (Math.abs((this.#adapter.pressure ?? 0) - this.#pressureTold) < pressureStep) return
    this.#write({ pressure: this.#pressure() })
  }

  async #run(request: storage.Request): Promise<void> {
    const bytes = requestBytes(request)
    this.#unansweredRequests += 1
    this.#unansweredBytes += bytes
    const parts = answer(this.#adapter, request, (error) =>
      this.#logger.error(
        { err: error, request: request.kind?.$case },
        'request failed unexpectedly',
      ),
    )
    let before: AnswerPart | undefined
    for await (const part of parts) {
      if (before) {
        this.#send(request.id, before, true)
        await this.#sender.room(unsentBytesMax)
        if (this.#isEnded) break
      }
      before = part
    }
    if (before && !this.#isEnded) this.#send(request.id, before, false)
    this.#unansweredRequests -= 1
    this.#unansweredBytes -= bytes
    this.#onProgress()
  }

  #send(id: number, part: AnswerPart, more: boolean): void {
    this.#sender.push({ id, more, kind: part.kind }, part.bytes)
  }

  #isOverfull(fraction: number): boolean {
    return (
      this.#unansweredBytes + this.#sender.queuedBytes + this.#joiner.bytes >
        unansweredBytesMax * fraction || this.#unansweredRequests > unansweredRequestsMax * fraction
    )
  }

  #onProgress(): void {
    if (this.#isEnded) return
    if (this.#isDraining) {
      if (this.#unansweredRequests === 0 && this.#sender.isIdle) this.#stream.end()
    } else if (this.#stream.isPaused() && !this.#isOverfull(0.5)) {
      this.#stream.resume()
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
