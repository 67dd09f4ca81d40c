/** What receivers say of the messages that they got: done, not done, not yet done. */
import type { Settlement, SettlementOutcome } from '../core/queues/queue-requests.ts'
import { sameLease } from '../core/queues/receipt.ts'
import { newEntry } from './entry.ts'
import type { Queue } from './queue.ts'

/** Resolves when it is stored: an acknowledged message comes back only if this was never answered. */
export async function settle(
  queue: Queue,
  settlements: readonly Settlement[],
): Promise<readonly SettlementOutcome[]> {
  const outcomes: SettlementOutcome[] = []
  await queue.change(() => {
    for (const settlement of settlements) outcomes.push(settleOne(queue, settlement))
  })
  return outcomes
}

/** Within a transaction. */
export function settleOne(queue: Queue, { receipt, action }: Settlement): SettlementOutcome {
  const { store } = queue
  if (receipt.queueId !== queue.id) return 'gone'
  const lane = store.lanes.find(({ level }) => level === receipt.level)
  if (lane === undefined || receipt.offset >= lane.end) return 'gone'
  const entry = lane.entries.get(receipt.offset)
  if (entry === undefined) {
    // Given out by an owner before this one, to a consumer that was connected to it: not looked at since.
    const isUnseen = receipt.offset >= lane.next && !lane.gone.has(receipt.offset)
    if (!isUnseen) return 'gone'
    if (action.kind === 'release') return 'done'
    if (action.kind === 'extend') return 'not-leased'
    const { level, offset } = receipt
    const unseen = newEntry({ level, offset, group: '', bytes: 0, expiresAtMs: 0 })
    lane.addAhead(unseen)
    if (action.kind === 'reject') queue.dismiss(unseen, 'rejected')
    else {
      store.finish(unseen)
      queue.counts.deleted++
    }
    return 'done'
  }
  const isLast = entry.lease === undefined || sameLease(entry.lease, receipt.lease)
  if (entry.state === 'leaving') return 'gone'
  if (!isLast) return 'stale'
  const isLeased = entry.state === 'leased'
  const isHeld = isLeased && entry.untilMs > store.nowMs
  if (action.kind === 'acknowledge' && action.heldOnly === true && !isHeld) return 'stale'
  if (action.kind !== 'extend') queue.receivers.release(entry)
  switch (action.kind) {
    case 'acknowledge':
      store.finish(entry)
      queue.counts.deleted++
      return 'done'
    case 'reject':
      queue.dismiss(entry, 'rejected')
      return 'done'
    case 'release':
      if (!isLeased) return 'not-leased'
      queue.giveBack(entry, action)
      return 'done'
    case 'extend':
      if (!isLeased) return 'not-leased'
      if (action.leaseMs <= 0) queue.giveBack(entry, { delayMs: 0, failed: true })
      else store.extend(entry, store.nowMs + action.leaseMs)
      return 'done'
    default:
      return action satisfies never
  }
}
