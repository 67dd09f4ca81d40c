/**
 * A message that is sent again within a time, told by its id or its content, is stored once. What was seen is a
 * key of the queue's shard, so the next owner knows it too; keys sort by time, so forgetting is one range.
 */
import { createHash } from 'node:crypto'
import type { NewRecord, Operation } from '@robust/storage-adapters'
import { HEADER, textHeader } from '../core/queues/headers.ts'
import type { QueuePolicy } from '../core/queues/queue-policy.ts'
import { padded } from './queue-keys.ts'

export interface SeenMessage {
  readonly messageId: string
  readonly sequence: number
}

/** Moves between queues are told apart for this long: a move whose outcome is unknown is repeated before. */
export const MOVES_REMEMBERED_MS = 600_000

type Policy = Pick<QueuePolicy, 'deduplicationMs' | 'deduplicationBy' | 'deduplicationScope'>

/** Undefined: the message is not looked up. `ms`: how long it is remembered. */
export function deduplicationKey(
  policy: Policy,
  record: NewRecord,
): { readonly id: string; readonly ms: number } | undefined {
  const move = textHeader(record, HEADER.movedFrom)
  if (move !== undefined) return { id: `m${move}`, ms: MOVES_REMEMBERED_MS }
  if (policy.deduplicationMs === 0) return undefined
  const own = textHeader(record, HEADER.deduplicationId)
  if (own === undefined && policy.deduplicationBy === 'id') return undefined
  const id =
    own ??
    createHash('sha256')
      .update(record.value ?? '')
      .digest('hex')
  const group = policy.deduplicationScope === 'group' ? textHeader(record, HEADER.group) : ''
  return { id: `d${group ?? ''}\0${id}`, ms: policy.deduplicationMs }
}

export class Deduplication {
  readonly #prefix: string
  /** In the order of their end, per length of memory: two lengths at most in one queue. */
  readonly #seen = new Map<string, SeenMessage & { readonly untilMs: number }>()

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  get size(): number {
    return this.#seen.size
  }

  restore(key: string, value: Uint8Array): void {
    const rest = key.slice(this.#prefix.length)
    const at = rest.indexOf('/')
    const seen = JSON.parse(Buffer.from(value).toString()) as SeenMessage
    this.#seen.set(rest.slice(at + 1), { ...seen, untilMs: Number(rest.slice(0, at)) })
  }

  find(id: string, nowMs: number): SeenMessage | undefined {
    const seen = this.#seen.get(id)
    return seen !== undefined && seen.untilMs > nowMs ? seen : undefined
  }

  remember(id: string, seen: SeenMessage, untilMs: number): Operation {
    this.#seen.delete(id)
    this.#seen.set(id, { ...seen, untilMs })
    const value = Buffer.from(JSON.stringify(seen))
    return { kind: 'put', key: `${this.#prefix}${padded(untilMs)}/${id}`, value }
  }

  /** Undefined: nothing has come to its end. */
  forget(nowMs: number): Operation | undefined {
    let forgotten = 0
    for (const [id, { untilMs }] of this.#seen) {
      if (untilMs > nowMs) {
        // Moves stay longer than others, and are few.
        if (id.startsWith('m')) continue
        break
      }
      this.#seen.delete(id)
      forgotten++
    }
    if (forgotten === 0) return undefined
    return { kind: 'delete-range', from: this.#prefix, to: `${this.#prefix}${padded(nowMs)}/` }
  }
}
