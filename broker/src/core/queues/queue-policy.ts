/** What holds for a queue. Each dialect's own words for it are mapped to these. */

export interface QueuePolicy {
  /** How long a received message is hidden from others, when the receiver does not say, ms. */
  readonly leaseMs: number
  /** How long a sent message waits before it can be received, when the sender does not say, ms. */
  readonly delayMs: number
  /** Age at which a message expires, ms; undefined never. */
  readonly retentionMs: number | undefined
  /** Whether the age counts from the arrival in this queue, or from when it was sent to the first one. */
  readonly retentionFrom: 'arrival' | 'sent'
  /** Whether what expires is dead-lettered. */
  readonly deadLetterExpired: boolean
  /** Ready messages, and their bytes; undefined no limit. */
  readonly lengthMax: number | undefined
  readonly bytesMax: number | undefined
  readonly overflow: 'drop-head' | 'reject' | 'dead-letter'
  /** Levels of priority: 1 none. A message's own is from 0, the lowest, to `priorities` - 1. */
  readonly priorities: number
  /** Of a message that says none. */
  readonly priorityDefault: number
  /** `group`: the messages of a group one after the other. */
  readonly order: 'none' | 'group'
  /** One consumer at a time gets pushes; the next takes over when it goes. */
  readonly singleConsumer: boolean
  /** Groups that take more than their share wait for the others; with `order` `none`. */
  readonly fair: boolean
  /** A message with the same id or content within this time is stored once, ms; 0 no such check. */
  readonly deduplicationMs: number
  /** `content`: by its hash, when it has no id. */
  readonly deduplicationBy: 'id' | 'content'
  readonly deduplicationScope: 'queue' | 'group'
  /** Deliveries after which a message that comes back is dead-lettered; undefined never. */
  readonly deliveriesMax: number | undefined
  readonly deadLetterQueue: string | undefined
  readonly retry: RetryPolicy
  /** Messages leased at once. */
  readonly inFlightMax: number
  readonly dispatch: DispatchStrategy
}

/** How long a message that failed waits: `minMs` times `growth` for each failure before, `maxMs` at most. */
export interface RetryPolicy {
  readonly minMs: number
  readonly maxMs: number
  /** 1 the same each time, 2 doubled each time; 0 `minMs` more each time. */
  readonly growth: number
}

/** Which consumer gets the next message. */
export type DispatchStrategy =
  | 'round-robin'
  | 'random'
  | 'sticky'
  | 'least-in-flight'
  /** The same publisher, or the same address, to the same consumer while the consumers are the same. */
  | 'hash-publisher'
  | 'hash-address'

export const DEFAULT_QUEUE_POLICY: QueuePolicy = {
  leaseMs: 30_000,
  delayMs: 0,
  retentionMs: undefined,
  retentionFrom: 'arrival',
  deadLetterExpired: true,
  lengthMax: undefined,
  bytesMax: undefined,
  overflow: 'reject',
  priorities: 1,
  priorityDefault: 0,
  order: 'none',
  singleConsumer: false,
  fair: false,
  deduplicationMs: 0,
  deduplicationBy: 'id',
  deduplicationScope: 'queue',
  deliveriesMax: undefined,
  deadLetterQueue: undefined,
  retry: { minMs: 0, maxMs: 0, growth: 1 },
  inFlightMax: 120_000,
  dispatch: 'round-robin',
}
