/**
 * One client's stream: requests run as they arrive and are answered as they finish. The stream is not
 * read while too much is unanswered or unsent, so that a client that does not take its answers, or sends
 * faster than the disk, is slowed instead of filling the memory.
 */
import type { ServerDuplexStream } from '@grpc/grpc-js'
import type { storage } from '@robust/proto'
import type { Logger } from '../logger.ts'
import type { StorageAdapter } from '../storage-adapter.ts'
import { itemOverheadBytes, protocolVersion } from '../wire/channel.ts'
import { FrameSender } from '../wire/frame-sender.ts'
import { type AnswerPart, answer } from './answer.ts'

export type ClientStream = ServerDuplexStream<storage.RequestFrame, storage.ResponseFrame>

/** Per client; the largest commit passes with room for others. */
const unansweredBytesMax = 128 * 1024 * 1024
const unansweredRequestsMax = 16_384

export class ClientSession {
  readonly #stream: ClientStream
  readonly #adapter: StorageAdapter
  readonly #logger: Logger
  readonly #sender: FrameSender<storage.Response>
  #unansweredRequests = 0
  #unansweredBytes = 0
  #isDraining = false
  #isEnded = false

  constructor(stream: ClientStream, options: { adapter: StorageAdapter; logger: Logger }) {
    this.#stream = stream
    this.#adapter = options.adapter
    this.#logger = options.logger
    this.#sender = new FrameSender({
      write: (responses) => stream.write({ hello: undefined, responses }),
      onIdle: () => this.#onProgress(),
    })
  }

  /** `onEnd` is called once, when the client is gone. */
  start(onEnd: () => void): void {
    const end = () => {
      if (this.#isEnded) return
      this.#isEnded = true
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
    this.#stream.write({ hello: { protocolVersion, capabilities }, responses: [] })
  }

  /** Takes no more requests, answers those that it has, then ends the stream. */
  drain(): void {
    this.#isDraining = true
    this.#stream.pause()
    this.#onProgress()
  }

  #onFrame(frame: storage.RequestFrame): void {
    for (const request of frame.requests) void this.#run(request)
    if (this.#isOverfull(1)) this.#stream.pause()
  }

  async #run(request: storage.Request): Promise<void> {
    const bytes = requestBytes(request)
    this.#unansweredRequests += 1
    this.#unansweredBytes += bytes
    const parts = await answer(this.#adapter, request, (error) =>
      this.#logger.error(
        { err: error, request: request.kind?.$case },
        'request failed unexpectedly',
      ),
    )
    for (const [index, part] of parts.entries()) {
      this.#send(request.id, part, index < parts.length - 1)
    }
    this.#unansweredRequests -= 1
    this.#unansweredBytes -= bytes
    this.#onProgress()
  }

  #send(id: number, part: AnswerPart, more: boolean): void {
    this.#sender.push({ id, more, kind: part.kind }, part.bytes)
  }

  #isOverfull(fraction: number): boolean {
    return (
      this.#unansweredBytes + this.#sender.queuedBytes > unansweredBytesMax * fraction ||
      this.#unansweredRequests > unansweredRequestsMax * fraction
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
