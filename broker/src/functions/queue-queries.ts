/** Looks at a queue without taking anything, and its redrive tasks. */
import { BrokerError } from '../core/errors.ts'
import { REPLY_BYTES } from '../core/limits.ts'
import { recordBytes } from '../core/queues/headers.ts'
import type {
  Peeked,
  QueuePosition,
  RedriveRequest,
  RedriveTask,
} from '../core/queues/queue-requests.ts'
import type { Queue } from './queue.ts'
import type { QueueStore } from './queue-store.ts'

const PEEK_MAX = 1_000

/** When the oldest message that is to be given out was sent, wall clock, ms. Rejects with a StorageError. */
export async function oldestAtMs({ lanes }: QueueStore): Promise<number | undefined> {
  let oldest = Number.POSITIVE_INFINITY
  for (const lane of lanes) {
    // What came back is before what nobody has looked at.
    const offset = lane.ready.first?.offset ?? lane.next
    if (offset >= lane.end) continue
    oldest = Math.min(oldest, (await lane.timestampOf(offset)) ?? oldest)
  }
  return oldest === Number.POSITIVE_INFINITY ? undefined : oldest
}

/**
 * Messages that are to be given out, the next one first, as many as fit in one answer; `after` the last one that was
 * looked at.
 */
export async function peek(
  store: QueueStore,
  { max, after }: { readonly max: number; readonly after: QueuePosition | undefined },
): Promise<Peeked[]> {
  const found: Peeked[] = []
  let bytes = 0
  const isEnough = (): boolean => found.length >= limit || bytes >= REPLY_BYTES
  const add = (peeked: Peeked): void => {
    found.push(peeked)
    bytes += recordBytes(peeked.record)
  }
  const limit = Math.min(max, PEEK_MAX)
  for (const lane of store.lanes) {
    if (after !== undefined && lane.level > after.level) continue
    const from = after?.level === lane.level ? after.offset + 1 : 0
    const seen = [...lane.entries.values()]
      .filter(({ state, offset }) => (state === 'ready' || state === 'parked') && offset >= from)
      .sort((a, b) => a.offset - b.offset)
    for (const { level, offset, deliveries } of seen) {
      if (isEnough()) return found
      const record = await lane.record(offset)
      if (record !== undefined) add({ level, offset, record, deliveries })
    }
    for (let offset = Math.max(lane.next, from); offset < lane.end; offset++) {
      if (isEnough()) return found
      if (lane.gone.has(offset) || lane.entries.has(offset)) continue
      const record = await lane.record(offset)
      if (record !== undefined) add({ level: lane.level, offset, record, deliveries: 0 })
    }
  }
  return found
}

/** Rejects with BrokerError: REFUSED, one runs already or would have no end; NOT_FOUND, there is none to cancel. */
export async function redrive(
  queue: Queue,
  request: RedriveRequest,
): Promise<readonly RedriveTask[]> {
  const { redrives, store } = queue
  if (request.kind === 'list') return redrives.list()
  if (request.kind === 'cancel') {
    const operations = redrives.cancel(request.task)
    if (operations === undefined) throw new BrokerError('NOT_FOUND', 'there is no such task')
    await queue.change(() => {
      for (const operation of operations) store.write(operation)
    })
    return redrives.list().filter(({ task }) => task === request.task)
  }
  if (redrives.active !== undefined) throw new BrokerError('REFUSED', 'a redrive is active already')
  const { to, perSecondMax } = request
  if (to === queue.name) throw new BrokerError('REFUSED', 'a queue is not moved to itself')
  const startedAtMs = store.nowMs
  let task = ''
  await queue.change(() => {
    task = `${queue.id}-${store.nextSequence()}`
    const terms = { task, to, perSecondMax, toMove: store.ready, startedAtMs }
    for (const operation of redrives.start(terms)) store.write(operation)
  })
  return redrives.list().filter((each) => each.task === task)
}
