/** Headers that every dialect understands, as a queue reads them. Names are in ARCHITECTURE.md. */
import type { NewRecord, RecordHeader } from '@robust/storage-adapters'

export const HEADER = {
  address: 'address',
  messageId: 'message-id',
  /** Messages of one group are ordered; of a fair queue it is the tenant. */
  group: 'group',
  /** Wall clock, ms. */
  deliverAt: 'deliver-at',
  expiresAt: 'expires-at',
  /** Wall clock, ms, when it was sent to the first queue; absent: it is in the first one. */
  sentAt: 'sent-at',
  /** Grows within an ordered queue. */
  sequence: 'sequence',
  /** From 0, the lowest. */
  priority: 'priority',
  deduplicationId: 'deduplication-id',
  publisher: 'publisher',
  /** JSON, see dead-letter.ts. */
  deadLetters: 'dead-letters',
  /** Names one move between queues, so that it happens once. */
  movedFrom: 'moved-from',
} as const

type WithHeaders = Pick<NewRecord, 'headers'>

export function headerOf({ headers }: WithHeaders, name: string): Uint8Array | undefined {
  for (let i = 0; i < headers.length; i++) {
    const header = headers[i] as RecordHeader
    if (header[0] === name) return header[1]
  }
  return undefined
}

export function textHeader(record: WithHeaders, name: string): string | undefined {
  const value = headerOf(record, name)
  return value && decoder.decode(value)
}

/** Undefined when it is absent or no number. */
export function numberHeader(record: WithHeaders, name: string): number | undefined {
  const text = textHeader(record, name)
  const value = text === undefined || text === '' ? Number.NaN : Number(text)
  return Number.isFinite(value) ? value : undefined
}

/** The record with these headers instead of any of the same names; undefined takes one away. */
export function withHeaders<R extends NewRecord>(
  record: R,
  changes: Readonly<Record<string, string | undefined>>,
): R {
  const headers = record.headers.filter(([name]) => !Object.hasOwn(changes, name))
  for (const [name, value] of Object.entries(changes)) {
    if (value !== undefined) headers.push([name, Buffer.from(value)])
  }
  return { ...record, headers }
}

export function recordBytes({ key, value, headers }: NewRecord): number {
  let bytes = (key?.byteLength ?? 0) + (value?.byteLength ?? 0)
  for (let i = 0; i < headers.length; i++) {
    const header = headers[i] as RecordHeader
    bytes += header[0].length + header[1].byteLength
  }
  return bytes
}

const decoder = new TextDecoder()
