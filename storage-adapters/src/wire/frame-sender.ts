/**
 * Collects what is sent in one turn of the event loop into frames, and stops writing when the stream
 * says so until it has drained. Order is kept. The queue is bounded by who fills it: `queuedBytes`.
 */
import { frameBytesTarget } from './channel.ts'

export interface FrameSenderOptions<Item> {
  /** Writes one frame; false when the stream wants no more until it has drained. */
  readonly write: (items: Item[]) => boolean
  /** Called when everything queued has been written. */
  readonly onIdle?: () => void
}

export class FrameSender<Item> {
  readonly #options: FrameSenderOptions<Item>
  #items: Item[] = []
  #sizes: number[] = []
  #queuedBytes = 0
  #isBlocked = false
  #isScheduled = false
  #isClosed = false

  constructor(options: FrameSenderOptions<Item>) {
    this.#options = options
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  get isIdle(): boolean {
    return this.#items.length === 0
  }

  push(item: Item, bytes: number): void {
    if (this.#isClosed) return
    this.#items.push(item)
    this.#sizes.push(bytes)
    this.#queuedBytes += bytes
    if (this.#isScheduled || this.#isBlocked) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#flush()
    })
  }

  /** The stream has drained. */
  resume(): void {
    this.#isBlocked = false
    this.#flush()
  }

  /** Forgets what is queued; nothing is written any more. */
  close(): void {
    this.#isClosed = true
    this.#items = []
    this.#sizes = []
    this.#queuedBytes = 0
  }

  #flush(): void {
    while (this.#items.length > 0 && !this.#isBlocked && !this.#isClosed) {
      let bytes = 0
      let count = 0
      for (const size of this.#sizes) {
        if (count > 0 && bytes + size > frameBytesTarget) break
        bytes += size
        count += 1
      }
      const items = this.#items.splice(0, count)
      this.#sizes.splice(0, count)
      this.#queuedBytes -= bytes
      this.#isBlocked = !this.#options.write(items)
    }
    if (this.#items.length === 0) this.#options.onIdle?.()
  }
}
