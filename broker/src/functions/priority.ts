/** Levels of priority. Each has its own log, so that order within a level stays and a level costs nothing. */
import type { QueuePolicy } from '../core/queues/queue-policy.ts'

/** The level of a message that says this priority, or none. */
export function levelOf(
  { priorities, priorityDefault }: Pick<QueuePolicy, 'priorities' | 'priorityDefault'>,
  priority: number | undefined,
): number {
  const wanted = Math.trunc(priority ?? priorityDefault)
  return Math.min(Math.max(0, wanted), priorities - 1)
}
