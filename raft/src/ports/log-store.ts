/**
 * The durable log and the durable election state of one member.
 * The driver keeps the log in memory too: a store is read once, at open, and written after.
 */
import type { LogEntry } from '../core/messages.ts'

/** Term and vote are one record: a crash must never pair one's new value with the other's old one. */
export interface HardState {
  readonly term: number
  readonly votedFor: string | undefined
}

export interface LogPosition {
  readonly index: number
  readonly term: number
}

export interface LogIdentity {
  readonly clusterId: string
  readonly nodeId: string
}

export interface StoredLog {
  readonly hardState: HardState
  /** The entry before the first one kept, {0, 0} for a log that was never compacted. */
  readonly base: LogPosition
  /** Contiguous from base.index + 1. */
  readonly entries: readonly LogEntry[]
}

/** One atomic change; the parts take effect in this order. */
export interface LogWrite {
  readonly hardState: HardState | undefined
  /** Drop every entry; the log starts after this position. */
  readonly reset: LogPosition | undefined
  /** Drop the entries from this index on. */
  readonly truncateFrom: number | undefined
  /** Contiguous after what is then the last entry. */
  readonly entries: readonly LogEntry[]
  /** Forget the entries up to and including this position. */
  readonly compactTo: LogPosition | undefined
}

export interface LogStore {
  /**
   * Opens and checks everything: checksums, contiguity, first and last index, and that nothing which
   * was durable is gone. An empty store takes the identity.
   * @throws LogDamagedError when any of it cannot be read or does not fit: never a shorter log.
   * @throws LogIdentityError when it belongs to another cluster or node.
   */
  open(identity: LogIdentity): Promise<StoredLog>
  /**
   * All or nothing; a resolved promise means durable on the medium (synced). One call at a time.
   * A rejection means the outcome is unknown: the store takes no more writes and the driver stops.
   */
  write(write: LogWrite): Promise<void>
  /** Idempotent; waits for a running write. */
  close(): Promise<void>
}
