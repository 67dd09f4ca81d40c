/** The durable snapshots of one member. A snapshot is complete and verified, or it does not exist. */
import type { SnapshotMeta } from '../core/messages.ts'

/** What is known of a snapshot before its bytes are. */
export type SnapshotPosition = Pick<
  SnapshotMeta,
  'index' | 'term' | 'members' | 'configurationIndex'
>

/** What the bytes must turn out to be, when another member announced them. */
export type SnapshotProof = Pick<SnapshotMeta, 'bytes' | 'sha256'>

export interface SnapshotStore {
  /** Removes what an interrupted create left behind. */
  open(): Promise<void>
  /** Those that are complete, newest (highest index) first. Their bytes are checked when read. */
  list(): Promise<readonly SnapshotMeta[]>
  /**
   * Takes all chunks and resolves when the snapshot is durable and was read back and verified.
   * On a rejection (chunks failed, proof did not hold, disk error) nothing of it is listed.
   * @throws SnapshotDamagedError when the bytes are not those that were announced or written.
   */
  create(
    position: SnapshotPosition,
    chunks: AsyncIterable<Uint8Array>,
    proof?: SnapshotProof,
  ): Promise<SnapshotMeta>
  /** Its bytes in chunks; throws SnapshotDamagedError at the latest after the last one. */
  read(snapshot: SnapshotMeta): AsyncIterable<Uint8Array>
  /** Removes all but the newest `count`. A running read may fail. */
  retain(count: number): Promise<void>
}
