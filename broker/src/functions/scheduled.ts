/**
 * Messages that are published at a time: kept on a shard until then, by the block for delays. Published first and
 * forgotten after, so that an owner that dies in between publishes again; an exactly-once message has its token.
 */
import type { NewRecord, StorageAdapter } from '@robust/storage-adapters'
import { Alarm } from '../core/alarm.ts'
import type { Message } from '../core/message.ts'
import type { Clock } from '../core/ports/clock.ts'
import { HEADER, withHeaders } from '../core/queues/headers.ts'
import { fromRecord, toRecord } from '../core/record.ts'
import type { HostedSchedule } from '../core/schedule.ts'
import { requireCommitted, type ShardWriter } from '../core/shard-writer.ts'
import { Delay } from './delay.ts'

export interface ScheduledOptions {
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly clock: Clock
  /** Settles when the message is with everyone who may have it. */
  readonly publish: (message: Message) => Promise<void>
  readonly onError: (error: Error) => void
}

const PREFIX = 'scheduled/'
const BEGUN = 'schedule-begun'
const UNDER_WAY_MAX = 256
const RETRY_MS = 1_000

export class Scheduled implements HostedSchedule {
  readonly #options: ScheduledOptions
  readonly #delay: Delay
  readonly #alarm: Alarm
  #underWay = 0
  #stopped = false

  constructor(options: ScheduledOptions) {
    const { writer, storage, clock } = options
    this.#options = options
    this.#delay = new Delay({ prefix: PREFIX, writer, storage })
    this.#alarm = new Alarm(clock, () => this.#due())
  }

  async load(): Promise<void> {
    await this.#delay.load(0)
  }

  start(): void {
    this.#due()
  }

  async schedule(message: Message, dueAtMs: number): Promise<void> {
    const { writer } = this.#options
    this.#delay.add(recordOf(message), dueAtMs)
    this.#arm()
    requireCommitted(await new Promise((resolve) => writer.onCommit(resolve)))
  }

  stop(): void {
    this.#stopped = true
    this.#alarm.stop()
  }

  #arm(): void {
    if (!this.#stopped && this.#underWay < UNDER_WAY_MAX) this.#alarm.set(this.#delay.nextDueAtMs)
  }

  #due(): void {
    if (this.#stopped) return
    const { clock, writer } = this.#options
    const due = this.#delay.startDue(clock.wallMs(), UNDER_WAY_MAX - this.#underWay)
    if (due.length > 0) {
      this.#underWay += due.length
      // An owner that is one no more finds out before it publishes what is another's.
      writer.put(BEGUN, new Uint8Array(0))
      writer.onCommit((outcome) => {
        if (outcome === 'lost') return
        for (const { handle, record } of due) void this.#publish(handle, record)
      })
    }
    this.#delay.refill().then(
      () => this.#arm(),
      (error: unknown) => {
        this.#failed(error)
        clock.after(RETRY_MS, () => this.#arm())
      },
    )
  }

  async #publish(handle: string, record: NewRecord): Promise<void> {
    const { clock, publish } = this.#options
    while (!this.#stopped) {
      try {
        await publish(messageOf(record, clock.wallMs()))
        break
      } catch (error) {
        this.#failed(error)
        await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve))
      }
    }
    this.#underWay--
    if (this.#stopped) return
    this.#delay.finishDue(handle)
    this.#arm()
  }

  #failed(error: unknown): void {
    if (this.#stopped) return
    this.#options.onError(error instanceof Error ? error : new Error(String(error)))
  }
}

/** What a message may not lose on its way: its expiry counts from when it is published. */
function recordOf(message: Message): NewRecord {
  const lifeMs = message.expiresAtMs === 0 ? 0 : message.expiresAtMs - message.timestampMs
  return withHeaders(toRecord(message), {
    [HEADER.expiresAt]: lifeMs > 0 ? String(lifeMs) : undefined,
  })
}

function messageOf(record: NewRecord, nowMs: number): Message {
  const { message } = fromRecord({ ...record, offset: 0 })
  const expiresAtMs = message.expiresAtMs === 0 ? 0 : nowMs + message.expiresAtMs
  return { ...message, timestampMs: nowMs, expiresAtMs }
}
