/** How long a log keeps what, as the owner of its name wants it. Values are checked where they are set. */

export interface LogPolicy {
  /** Records older than this go, ms; undefined: whatever their age. */
  readonly retentionMs: number | undefined
  /** The oldest records go while the log is larger; undefined: whatever its size. */
  readonly retentionBytes: number | undefined
  /** Of each key only the newest record is kept. */
  readonly compact: boolean
  /** A record of a key without a value stays this long after its first compaction, ms. */
  readonly tombstoneDelayMs: number
  /** Records younger than this are not compacted yet, ms. */
  readonly compactionLagMs: number
  /** Compaction begins when this share of the compactible bytes has not been compacted, 0 to 1. */
  readonly dirtyRatio: number
  /** Of one batch that a producer brings. */
  readonly batchBytesMax: number
  /** What is dropped, compacted and looked up as one piece. */
  readonly segmentBytes: number
  /** A segment is closed at this age even if it is small, ms. */
  readonly segmentMs: number
  /** Records have the time at which they were appended, whatever their producers say. */
  readonly appendTime: boolean
}

export const DEFAULT_LOG_POLICY: LogPolicy = {
  retentionMs: 7 * 86_400_000,
  retentionBytes: undefined,
  compact: false,
  tombstoneDelayMs: 86_400_000,
  compactionLagMs: 0,
  dirtyRatio: 0.5,
  batchBytesMax: 1_048_588,
  segmentBytes: 4 * 1024 * 1024,
  segmentMs: 7 * 86_400_000,
  appendTime: false,
}

/** A tenth of what is retained is the largest piece that makes sense: the log is cut piece by piece. */
export function segmentBytesOf(policy: LogPolicy): number {
  if (policy.retentionBytes === undefined) return policy.segmentBytes
  return Math.max(SEGMENT_BYTES_MIN, Math.min(policy.segmentBytes, policy.retentionBytes / 10))
}

const SEGMENT_BYTES_MIN = 4 * 1024
