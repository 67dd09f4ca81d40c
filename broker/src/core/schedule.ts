/** Messages that are published at a time, on an owned shard, as the core uses them. How is in `functions/scheduled.ts`. */
import type { Message } from './message.ts'

export interface ScheduleRequest {
  readonly message: Message
  /** Wall clock, ms. */
  readonly dueAtMs: number
}

export interface HostedSchedule {
  /** Rejects with a StorageError. */
  load(): Promise<void>
  start(): void
  /** Durable when it resolves. */
  schedule(message: Message, dueAtMs: number): Promise<void>
  stop(): void
}
