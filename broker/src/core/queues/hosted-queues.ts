/** The queues of an owned shard, as the core uses them. What a queue does is in `functions/`. */
import type { Message } from '../message.ts'
import type { CommitOutcome } from '../shard-writer.ts'
import type { QueueCall } from './queue-call.ts'
import type { QueuePolicy } from './queue-policy.ts'
import type { QueueReply } from './queue-requests.ts'

export interface QueueDefinition {
  /** Of its creation: a queue of the same name that was made later has another one. */
  readonly id: number
  readonly policy: QueuePolicy
}

/** `full`: the queue takes no more, and the message is not in it. */
export type AppendOutcome = CommitOutcome | 'full'

/** Messages of a queue since the process began. */
export interface QueueCounts {
  sent: number
  received: number
  deleted: number
  deadLettered: number
}

export function newQueueCounts(): QueueCounts {
  return { sent: 0, received: 0, deleted: 0, deadLettered: 0 }
}

/** A queue as it is now. */
export interface QueueUsage {
  readonly queue: string
  readonly ready: number
  readonly inFlight: number
  readonly delayed: number
  /** Of the oldest message that is to be given out, wall clock, ms; undefined: there is none, or it cannot be read. */
  readonly oldestAtMs: number | undefined
  readonly counts: QueueCounts
}

/** Queues are named by their keys, see queue-key.ts. */
export interface HostedQueues {
  start(): void
  /**
   * Rejects with BrokerError: NOT_FOUND, REFUSED, UNAVAILABLE. When `signal` says that the caller has given up, what
   * waits is answered at once, without messages.
   */
  handle(call: QueueCall, signal?: AbortSignal): Promise<QueueReply>
  /**
   * What was published to an address that the queue is bound to, in the order of the calls for one queue. `done` runs
   * when it is durable, or the shard is lost.
   */
  append(
    place: { readonly queue: string; readonly knownAt: number },
    message: Message,
    done: (outcome: AppendOutcome) => void,
  ): void
  /** The queue is defined otherwise now, or not any more. */
  changed(queue: string): void
  /** Keys of those that are open. */
  names(): Iterable<string>
  /** Undefined: it is not open. Never rejects. */
  usage(queue: string): Promise<QueueUsage | undefined>
  stop(): void
}
