/**
 * The client's side of a session: numbers the commands. What it gives may be proposed as often as needed,
 * to any leader; how often, and for how long, is the caller's matter.
 */
import { encodeSessionCommand } from './session-command.ts'

export class SessionClient {
  readonly #session: number
  #lastSequence = 0
  readonly #unanswered = new Set<number>()

  /** `session`: from the result of the command that `open` gives. Used by one client at a time. */
  constructor(session: number) {
    this.#session = session
  }

  /** To be proposed first; its result is { kind: 'opened', session }. */
  static open(): Uint8Array {
    return encodeSessionCommand({ kind: 'open' })
  }

  /** The bytes to propose, also again. Call `answered` once a result was heard. */
  next(command: Uint8Array): { readonly bytes: Uint8Array; answered(): void } {
    this.#lastSequence += 1
    const sequence = this.#lastSequence
    this.#unanswered.add(sequence)
    const answeredBelow = Math.min(...this.#unanswered)
    return {
      bytes: encodeSessionCommand({
        kind: 'command',
        session: this.#session,
        sequence,
        answeredBelow,
        command,
      }),
      answered: () => {
        this.#unanswered.delete(sequence)
      },
    }
  }

  /** Lets the members forget the session now instead of when it is the oldest. */
  close(): Uint8Array {
    return encodeSessionCommand({ kind: 'close', session: this.#session })
  }
}
