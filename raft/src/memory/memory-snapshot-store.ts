/** Snapshots in memory: durable as long as the object. For tests and for clusters that need no disk. */
import { createHash } from 'node:crypto'
import type { SnapshotMeta } from '../core/messages.ts'
import { SnapshotDamagedError } from '../errors.ts'
import type { SnapshotPosition, SnapshotProof, SnapshotStore } from '../ports/snapshot-store.ts'

const CHUNK_BYTES = 256 * 1024

export class MemorySnapshotStore implements SnapshotStore {
  /** Newest first. */
  #snapshots: { readonly meta: SnapshotMeta; readonly content: Uint8Array }[] = []

  async open(): Promise<void> {}

  async list(): Promise<readonly SnapshotMeta[]> {
    return this.#snapshots.map((snapshot) => snapshot.meta)
  }

  async create(
    position: SnapshotPosition,
    chunks: AsyncIterable<Uint8Array>,
    proof?: SnapshotProof,
  ): Promise<SnapshotMeta> {
    const parts: Uint8Array[] = []
    for await (const chunk of chunks) parts.push(chunk)
    const content = new Uint8Array(Buffer.concat(parts))
    const { index, term, members, configurationIndex = 0 } = position
    const described = { bytes: content.byteLength, sha256: hashOf(content) }
    const meta = { index, term, members, configurationIndex, ...described }
    if (proof !== undefined && (meta.bytes !== proof.bytes || meta.sha256 !== proof.sha256)) {
      throw new SnapshotDamagedError(`snapshot ${index} is not the one that was announced`)
    }
    const others = this.#snapshots.filter((snapshot) => snapshot.meta.index !== index)
    this.#snapshots = [...others, { meta, content }].sort((a, b) => b.meta.index - a.meta.index)
    return meta
  }

  async *read(snapshot: SnapshotMeta): AsyncGenerator<Uint8Array> {
    const found = this.#snapshots.find(
      ({ meta }) => meta.index === snapshot.index && meta.sha256 === snapshot.sha256,
    )
    if (found === undefined || hashOf(found.content) !== snapshot.sha256) {
      throw new SnapshotDamagedError(`snapshot ${snapshot.index} is gone or damaged`)
    }
    for (let at = 0; at < found.content.byteLength; at += CHUNK_BYTES) {
      yield found.content.subarray(at, at + CHUNK_BYTES)
    }
  }

  async retain(count: number): Promise<void> {
    this.#snapshots = this.#snapshots.slice(0, count)
  }
}

function hashOf(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}
