/** What becomes of messages that sessions will not get: counted, and published where the settings say. */
import type { Settings } from './cluster/settings.ts'
import type { Message } from './core/message.ts'
import type { Clock } from './core/ports/clock.ts'
import { NamedCounts } from './core/ports/telemetry.ts'
import type { Loss, SessionLosses } from './core/sessions/session-losses.ts'
import { deadLetterOf } from './protocols/mqtt/dead-letter.ts'

export interface DeadLettersOptions {
  readonly rules: () => DeadLetterRules
  readonly clock: Clock
  /** Settles when the message is with everyone who may have it. */
  readonly publish: (message: Message) => Promise<void>
}

export interface DeadLetterRules {
  /** Undefined: lost messages are gone. */
  readonly prefix: string | undefined
  readonly messagesMax: number
}

const RETRY_MS = 1_000

export class DeadLetters implements SessionLosses {
  readonly #options: DeadLettersOptions
  /** Since the process began, by reason. */
  readonly lostCounts = new NamedCounts()
  readonly letterCounts = new NamedCounts()
  sessionsExpired = 0
  #stopped = false

  constructor(options: DeadLettersOptions) {
    this.#options = options
  }

  messagesMax(): number {
    return this.#options.rules().messagesMax
  }

  lost(message: Message, { reason, session }: Loss): Promise<void> | undefined {
    this.lostCounts.add(reason)
    const { rules, clock } = this.#options
    const { prefix } = rules()
    if (prefix === undefined) return undefined
    const letter = deadLetterOf(message, { prefix, reason, session, nowMs: clock.wallMs() })
    if (letter === undefined) return undefined
    return this.#publish(letter).then(() => this.letterCounts.add(reason))
  }

  /** A message was delivered, but is not retained: there are too many. */
  retainedUnkept(): void {
    this.lostCounts.add('retained-limit')
  }

  sessionExpired(): void {
    this.sessionsExpired++
  }

  stop(): void {
    this.#stopped = true
  }

  /** Does not settle any more when the broker stops: the next owner begins again. */
  async #publish(letter: Message): Promise<void> {
    const { publish, clock } = this.#options
    for (;;) {
      try {
        await publish(letter)
        return
      } catch {
        await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve))
      }
      if (this.#stopped) await new Promise(() => undefined)
    }
  }
}

export function deadLetterRulesOf(settings: Settings): DeadLetterRules {
  return {
    prefix: settings.get('mqtt.dead-letter-address') ?? undefined,
    messagesMax: settings.get('mqtt.session-messages-max') ?? Number.POSITIVE_INFINITY,
  }
}
