/**
 * What a receiver holds of a message: enough to acknowledge it at any broker, whoever owns the queue by
 * then. As a text it is opaque to clients.
 */

export interface QueueReceipt {
  /** Of the queue as it was created: one of the same name that came later does not know the receipt. */
  readonly queueId: number
  readonly queue: string
  /** Where the message is: its level of priority, and its offset there. */
  readonly level: number
  readonly offset: number
  readonly lease: Lease
}

/** Grows with every lease of the queue: epoch of the owner that gave it, then its count. */
export interface Lease {
  readonly epoch: number
  readonly number: number
}

export function encodeReceipt({ queueId, queue, level, offset, lease }: QueueReceipt): string {
  const fields = [queueId, level, offset, lease.epoch, lease.number, queue]
  return Buffer.from(JSON.stringify(fields)).toString('base64url')
}

const RECEIPT_CHARACTERS_MAX = 4_096

/** Undefined: it is no receipt. */
export function decodeReceipt(text: string): QueueReceipt | undefined {
  if (text.length > RECEIPT_CHARACTERS_MAX || !/^[\w-]+$/.test(text)) return undefined
  let fields: unknown
  try {
    fields = JSON.parse(Buffer.from(text, 'base64url').toString())
  } catch {
    return undefined
  }
  if (!Array.isArray(fields) || fields.length !== 6) return undefined
  const numbers = fields.slice(0, 5) as number[]
  const queue: unknown = fields[5]
  if (!numbers.every((value) => Number.isSafeInteger(value) && value >= 0)) return undefined
  if (typeof queue !== 'string') return undefined
  const [queueId = 0, level = 0, offset = 0, epoch = 0, number = 0] = numbers
  return { queueId, queue, level, offset, lease: { epoch, number } }
}

export function sameLease(a: Lease | undefined, b: Lease): boolean {
  return a !== undefined && a.epoch === b.epoch && a.number === b.number
}
