/**
 * A log as a row of segments: pieces that are dropped, compacted and looked up as one. The last one is open,
 * the others are closed and described by a key of the shard. No I/O.
 */
import { maxTimestamp, nextOffset } from '@robust/storage-adapters'
import type { LogPolicy } from './log-policy.ts'

export interface Segment {
  readonly base: number
  /** Offset of the record after its last one. */
  end: number
  bytes: number
  /** Newest timestamp of its records, ms. */
  maxTimestamp: number
  /** Wall clock when its first record came, ms. */
  openedAtMs: number
  /** Wall clock when it was first compacted, ms; 0 never. */
  cleanedAtMs: number
  /** Something in it may be removed once the tombstone delay has passed. */
  tombstones: boolean
}

export class Segments {
  #all: Segment[] = []

  constructor(closed: readonly Segment[] = []) {
    this.#all = [...closed]
  }

  get all(): readonly Segment[] {
    return this.#all
  }

  get bytes(): number {
    return this.#all.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  get last(): Segment | undefined {
    return this.#all[this.#all.length - 1]
  }

  /** The next batch begins a segment of its own. */
  begin(base: number, openedAtMs: number): Segment {
    const segment: Segment = {
      base,
      end: base,
      bytes: 0,
      maxTimestamp: 0,
      openedAtMs,
      cleanedAtMs: 0,
      tombstones: false,
    }
    this.#all.push(segment)
    return segment
  }

  /** The batch is the newest of the last segment. */
  grow(batch: Uint8Array): void {
    const { last } = this
    if (last === undefined) return
    last.end = nextOffset(batch)
    last.bytes += batch.byteLength
    last.maxTimestamp = Math.max(last.maxTimestamp, maxTimestamp(batch))
  }

  /** Forgets what lies before the offset; a segment that holds it stays whole. Returns what is gone. */
  trim(beforeOffset: number): readonly Segment[] {
    const gone = this.#all.filter(({ end }) => end <= beforeOffset)
    this.#all = this.#all.slice(gone.length)
    return gone
  }

  /** Neighbours become one. */
  merge(group: readonly Segment[], merged: Segment): void {
    const [first] = group
    if (first === undefined) return
    const at = this.#all.indexOf(first)
    if (at >= 0) this.#all.splice(at, group.length, merged)
  }

  /** The first segment that has a record of this time or later. Times need not grow with offsets. */
  atTime(timestamp: number): Segment | undefined {
    return this.#all.find((segment) => segment.maxTimestamp >= timestamp)
  }
}

/** Offset before which everything may go: whole segments, the oldest first; 0 nothing. */
export function retainedFrom(
  segments: readonly Segment[],
  policy: LogPolicy,
  nowMs: number,
): number {
  let from = 0
  let bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0)
  for (const [at, segment] of segments.entries()) {
    const open = at === segments.length - 1
    const tooOld =
      policy.retentionMs !== undefined && segment.maxTimestamp < nowMs - policy.retentionMs
    // The open segment goes by its age only, so that a log is never emptied for its size.
    const tooLarge = !open && policy.retentionBytes !== undefined && bytes > policy.retentionBytes
    if (!tooOld && !tooLarge) break
    from = segment.end
    bytes -= segment.bytes
  }
  return from
}
