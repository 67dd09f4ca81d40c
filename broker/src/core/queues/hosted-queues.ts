/** The queues of an owned shard, as the core uses them. What a queue does is in `functions/`. */
import type { NewRecord } from '@robust/storage-adapters'
import type { CommitOutcome } from '../shard-writer.ts'
import type { QueuePolicy } from './queue-policy.ts'
import type { QueueReply, QueueRequest } from './queue-requests.ts'

export interface QueueDefinition {
  /** Of its creation: a queue of the same name that was made later has another one. */
  readonly id: number
  readonly policy: QueuePolicy
}

export interface HostedQueues {
  start(): void
  /** Rejects with BrokerError: NOT_FOUND, REFUSED, UNAVAILABLE. */
  handle(queue: string, request: QueueRequest): Promise<QueueReply>
  /** In the order of the calls for one queue. `done` runs when it is durable, or the shard is lost. */
  append(queue: string, record: NewRecord, done: (outcome: CommitOutcome) => void): void
  stop(): void
}
