/** How long a message that failed waits before it is given out again. */
import type { RetryPolicy } from '../core/queues/queue-policy.ts'

/** `failures`: this one included. ms. */
export function retryDelayMs({ minMs, maxMs, growth }: RetryPolicy, failures: number): number {
  if (minMs <= 0) return 0
  const before = Math.max(0, failures - 1)
  const delay = growth === 0 ? minMs * (before + 1) : minMs * growth ** Math.min(before, 64)
  return Math.round(Math.min(delay, Math.max(minMs, maxMs)))
}
