/**
 * A bridge for as long as this broker has it: it keeps a conversation with the other side going. What is to be
 * carried out waits in the bridge's durable session, from the moment at which the bridge was made.
 */
import { effectiveGuarantee, type Message, type Subscription } from '../../../core/message.ts'
import {
  attachOptions,
  type BridgeCounts,
  type BridgeServices,
  Conversation,
} from './conversation.ts'
import type { BridgeDefinition } from './definition.ts'

export type BridgeState = 'connecting' | 'connected' | 'waiting' | 'stopped'

export interface BridgeStatus extends Readonly<BridgeCounts> {
  readonly name: string
  readonly state: BridgeState
  readonly remote: string
  /** Wall clock, ms: of the state. */
  readonly sinceMs: number
  /** Empty: there was none since this broker has the bridge. */
  readonly lastError: string
  readonly reconnects: number
}

export interface BridgeOptions extends BridgeServices {
  /** From 0 up to 1. */
  readonly random: () => number
  readonly onTrouble: (bridge: string, reason: string) => void
}

const RETRY_MS_MIN = 500
const RETRY_MS_MAX = 60_000
/** A connection that has lasted so long was a good one: the next try is at once. */
const GOOD_MS = 10_000

const NOBODY = {
  deliver: () => undefined,
  deliverShared: (_: unknown, done: () => void) => done(),
  push: () => undefined,
  evicted: () => undefined,
}

export class Bridge {
  readonly definition: BridgeDefinition
  readonly #options: BridgeOptions
  readonly #counts: BridgeCounts = { received: 0, sent: 0, looped: 0, refused: 0 }
  readonly #running: Promise<void>
  #state: BridgeState = 'connecting'
  #sinceMs: number
  #lastError = ''
  #reconnects = 0
  #retryMs = RETRY_MS_MIN
  #conversation: Conversation | undefined
  #isStopped = false
  #wake: () => void = () => undefined

  constructor(definition: BridgeDefinition, options: BridgeOptions) {
    this.definition = definition
    this.#options = options
    this.#sinceMs = options.clock.wallMs()
    this.#running = this.#run()
  }

  get status(): BridgeStatus {
    const { name, host, port, tls } = this.definition
    const remote = `${tls === undefined ? 'mqtt' : 'mqtts'}://${host}:${port}`
    const { lastError, reconnects, sinceMs } = {
      ...{ lastError: this.#lastError, reconnects: this.#reconnects, sinceMs: this.#sinceMs },
    }
    return { name, state: this.#state, remote, sinceMs, lastError, reconnects, ...this.#counts }
  }

  /** Resolves when neither side has a connection of it. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#wake()
    await this.#conversation?.end()
    await this.#running
    this.#become('stopped')
  }

  async #run(): Promise<void> {
    let isPrepared = false
    while (!this.#isStopped) {
      const { clock } = this.#options
      const startedAtMs = clock.nowMs()
      try {
        if (!isPrepared) await this.#prepare()
        isPrepared = true
        await this.#converse()
      } catch (error) {
        this.#failed(error)
      }
      if (this.#isStopped) return
      if (clock.nowMs() - startedAtMs > GOOD_MS) this.#retryMs = RETRY_MS_MIN
      this.#become('waiting')
      await this.#pause()
      this.#reconnects++
    }
  }

  /** Its session has the filters that go out, and no others; what is retained for new ones waits in it. */
  async #prepare(): Promise<void> {
    const { messaging } = this.#options
    const { out } = this.definition
    const session = await messaging.attach(attachOptions(this.definition, 1), NOBODY)
    try {
      const wanted = out.map(({ filter, qos }) => subscriptionOf(filter, qos))
      const filters = new Set(out.map(({ filter }) => filter))
      const gone = session.filters().filter((filter) => !filters.has(filter))
      if (gone.length > 0) await session.unsubscribe(gone)
      if (wanted.length === 0) return
      const existed = await session.subscribe(wanted)
      for (const [at, subscription] of wanted.entries()) {
        if (existed[at] === true) continue
        const kept = await messaging.retained(subscription.filter)
        const messages = kept.flatMap((stored) => {
          const guarantee = effectiveGuarantee(stored, [subscription])
          const message: Message = { ...stored, guarantee, retain: true, token: '' }
          return guarantee === 0 ? [] : [{ message, identifiers: [] }]
        })
        if (messages.length > 0) await session.enqueue(messages)
      }
    } finally {
      await session.detach({ publishWill: false, expirySeconds: undefined })
    }
  }

  /** Until the connection has ended. */
  async #converse(): Promise<void> {
    if (this.#isStopped) return
    this.#become('connecting')
    const conversation = new Conversation(this.definition, this.#options, this.#counts)
    this.#conversation = conversation
    try {
      const refused = await conversation.begin()
      this.#become('connected')
      if (refused.length > 0) {
        this.#failed(new Error(`the other side refused the filter ${refused.join(', ')}`))
      }
      const reason = await conversation.ended
      if (!this.#isStopped) this.#failed(new Error(reason))
    } finally {
      this.#conversation = undefined
      await conversation.end()
    }
  }

  #failed(error: unknown): void {
    if (this.#isStopped) return
    this.#lastError = error instanceof Error ? error.message : String(error)
    this.#options.onTrouble(this.definition.name, this.#lastError)
  }

  #become(state: BridgeState): void {
    this.#state = state
    this.#sinceMs = this.#options.clock.wallMs()
  }

  /** Doubled each time, and a part of it by chance: brokers that lost the same peer come one by one. */
  #pause(): Promise<void> {
    const { clock, random } = this.#options
    const waitMs = this.#retryMs * (0.5 + random() / 2)
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX)
    return new Promise((resolve) => {
      const timer = clock.after(waitMs, resolve)
      this.#wake = () => {
        timer.cancel()
        resolve()
      }
      if (this.#isStopped) this.#wake()
    })
  }
}

function subscriptionOf(filter: string, guarantee: 0 | 1 | 2): Subscription {
  return { filter, guarantee, noLocal: true, retainAsPublished: true, identifier: 0 }
}
