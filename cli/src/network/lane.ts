/** One direction of one connection: what arrives is given on by the rule that holds when it arrives. */
import type { Socket } from 'node:net'
import { delayOf, type LinkRule } from './link-rules.ts'

export interface LaneOptions {
  readonly source: Socket
  readonly target: Socket
  readonly rule: () => LinkRule
  readonly random: () => number
}

interface Piece {
  /** Undefined: the end. */
  readonly bytes: Buffer | undefined
  readonly dueMs: number
}

/** More than this on its way, and the sender has to wait, as it has with a full window. */
const WINDOW_BYTES = 1024 * 1024

export class Lane {
  readonly #options: LaneOptions
  readonly #pieces: Piece[] = []
  #bytes = 0
  #timer: NodeJS.Timeout | undefined
  #isBlocked = false

  constructor(options: LaneOptions) {
    this.#options = options
    const { source, target } = options
    source.on('data', (bytes: Buffer) => this.#take(bytes))
    source.on('end', () => this.#take(undefined))
    target.on('drain', () => {
      this.#isBlocked = false
      this.look()
    })
  }

  /** Rules have changed, or time has passed. */
  look(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const { source, target, rule } = this.#options
    if (rule().cut) return
    while (!this.#isBlocked) {
      const [piece] = this.#pieces
      if (piece === undefined) break
      const leftMs = piece.dueMs - performance.now()
      if (leftMs > 0) {
        this.#timer = setTimeout(() => this.look(), leftMs)
        return
      }
      this.#pieces.shift()
      if (piece.bytes === undefined) target.end()
      else {
        this.#bytes -= piece.bytes.length
        this.#isBlocked = !target.write(piece.bytes)
      }
    }
    if (this.#bytes < WINDOW_BYTES && source.isPaused()) source.resume()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#pieces.length = 0
    this.#bytes = 0
  }

  #take(bytes: Buffer | undefined): void {
    const { source, rule, random } = this.#options
    // In order: what comes later is never earlier.
    const lastMs = this.#pieces.at(-1)?.dueMs ?? 0
    const dueMs = Math.max(lastMs, performance.now() + delayOf(rule(), random))
    this.#pieces.push({ bytes, dueMs })
    this.#bytes += bytes?.length ?? 0
    if (this.#bytes >= WINDOW_BYTES) source.pause()
    this.look()
  }
}
