/** What happens to a message that a queue has no room for. */
import type { QueuePolicy } from '../core/queues/queue-policy.ts'

export interface QueueSize {
  readonly length: number
  readonly bytes: number
}

type Limits = Pick<QueuePolicy, 'lengthMax' | 'bytesMax' | 'overflow'>

/** `dead-letter`: the new message goes there instead. `admit` covers `drop-head`: the oldest go afterwards. */
export function admission(
  limits: Limits,
  size: QueueSize,
  bytes: number,
): 'admit' | 'reject' | 'dead-letter' {
  if (limits.overflow === 'drop-head') return 'admit'
  const after = { length: size.length + 1, bytes: size.bytes + bytes }
  if (!isOver(limits, after)) return 'admit'
  return limits.overflow === 'reject' ? 'reject' : 'dead-letter'
}

/** Whether the oldest message must go. */
export function mustDropHead(limits: Limits, size: QueueSize): boolean {
  return limits.overflow === 'drop-head' && isOver(limits, size)
}

function isOver({ lengthMax, bytesMax }: Limits, { length, bytes }: QueueSize): boolean {
  return (
    (lengthMax !== undefined && length > lengthMax) || (bytesMax !== undefined && bytes > bytesMax)
  )
}
