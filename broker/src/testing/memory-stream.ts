/** The server's end of a connection that exists in memory only: a test is the client. */
import { Duplex } from 'node:stream'

export class MemoryStream extends Duplex {
  readonly #onBytes: (bytes: Buffer) => void
  isOver = false

  /** `onBytes`: what the server sends. */
  constructor(onBytes: (bytes: Buffer) => void) {
    super({ allowHalfOpen: true })
    this.#onBytes = onBytes
    for (const event of ['finish', 'close'] as const) {
      this.on(event, () => {
        this.isOver = true
      })
    }
  }

  /** What the client sends. */
  receive(bytes: Buffer): void {
    if (!this.isOver && !this.destroyed) this.push(bytes)
  }

  /** The client is gone without a word. */
  cut(): void {
    this.destroy()
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#onBytes(chunk)
    done()
  }
}
