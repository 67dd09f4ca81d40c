/**
 * Which offsets a connection was sent and has acknowledged, to tell what comes again after the shard has moved.
 * They come in order and are mostly acknowledged so: three marks tell nearly everything, and sets the rest. What is
 * forgotten counts as never sent, so the client gets it again; nothing is ever taken for acknowledged that is not.
 */

/** Offsets that are remembered one by one. */
const REMEMBERED_MAX = 8_192

export class PushedOffsets {
  /** The lowest one. */
  #first = -1
  /** One past the highest one. */
  #pushedTo = -1
  /** From the first one up to here, without, everything was acknowledged, but for the sets below. */
  #acknowledgedTo = -1
  /** Between the marks, and not sent. */
  readonly #skipped = new Offsets()
  /** Below `#acknowledgedTo`: sent since, and not acknowledged. */
  readonly #open = new Offsets()
  /** At or above `#acknowledgedTo`. */
  readonly #acknowledged = new Offsets()

  isAcknowledged(offset: number): boolean {
    if (offset < this.#first || offset >= this.#acknowledgedTo)
      return this.#acknowledged.has(offset)
    return !this.#skipped.has(offset) && !this.#open.has(offset)
  }

  /** It is with the client, which has not acknowledged it. */
  isPushed(offset: number): boolean {
    if (offset < this.#first || offset >= this.#pushedTo) return false
    if (offset < this.#acknowledgedTo) return this.#open.has(offset)
    return !this.#skipped.has(offset) && !this.#acknowledged.has(offset)
  }

  push(offset: number): void {
    if (this.#first < 0) this.#begin(offset)
    else if (offset >= this.#pushedTo) {
      this.#skip(this.#pushedTo, offset)
      this.#pushedTo = offset + 1
    } else if (offset < this.#first) {
      this.#skip(offset + 1, this.#first)
      this.#first = offset
      this.#open.add(offset)
    } else if (this.#skipped.delete(offset) && offset < this.#acknowledgedTo) this.#open.add(offset)
    if (this.#skipped.size + this.#open.size > REMEMBERED_MAX) this.#begin(offset)
  }

  acknowledge(offset: number): void {
    if (offset === this.#acknowledgedTo && offset < this.#pushedTo) {
      this.#acknowledgedTo++
      this.#advance()
      return
    }
    if (this.#open.delete(offset) || this.isAcknowledged(offset)) return
    this.#acknowledged.add(offset)
    if (this.#acknowledged.size > REMEMBERED_MAX) this.#acknowledged.deleteOldest()
  }

  #advance(): void {
    while (this.#acknowledgedTo < this.#pushedTo) {
      const next = this.#acknowledgedTo
      if (!this.#acknowledged.delete(next) && !this.#skipped.has(next)) return
      this.#acknowledgedTo++
    }
  }

  #skip(from: number, to: number): void {
    if (to - from > REMEMBERED_MAX) this.#begin(to)
    else for (let offset = from; offset < to; offset++) this.#skipped.add(offset)
  }

  /** What was known of others counts no more. */
  #begin(offset: number): void {
    this.#first = offset
    this.#acknowledgedTo = offset
    this.#pushedTo = offset + 1
    this.#skipped.clear()
    this.#open.clear()
    this.#acknowledged.clear()
  }
}

/** A set that is made when something is put into it. */
class Offsets {
  #set: Set<number> | undefined

  get size(): number {
    return this.#set?.size ?? 0
  }

  has(offset: number): boolean {
    return this.#set?.has(offset) === true
  }

  add(offset: number): void {
    this.#set ??= new Set()
    this.#set.add(offset)
  }

  delete(offset: number): boolean {
    return this.#set?.delete(offset) === true
  }

  deleteOldest(): void {
    for (const oldest of this.#set ?? []) {
      this.#set?.delete(oldest)
      return
    }
  }

  clear(): void {
    this.#set = undefined
  }
}
