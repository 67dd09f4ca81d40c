/** One request to the owner of a queue, as it travels between brokers. */
import type { QueueRequest } from './queue-requests.ts'

export interface QueueCall {
  /** Its key, see queue-key.ts. */
  readonly queue: string
  /** Version by which the asking broker knows the queue: the owner may not have heard of it yet. */
  readonly knownAt: number
  readonly request: QueueRequest
}
