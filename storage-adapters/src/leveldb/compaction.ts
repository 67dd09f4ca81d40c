/**
 * Copies what is still wanted out of segment files of which most is not, so that trimming frees the disk. One
 * file at a time, in pieces that go through the group writer like commits: what was trimmed meanwhile is
 * not brought back. A file that is damaged stays, for those who read from it to be told.
 */
import type { FileHandle } from 'node:fs/promises'
import { StorageError } from '../errors.ts'
import { unsealBatch } from '../sealed-values.ts'
import type { Engine } from './engine.ts'
import type { GroupWriter } from './group-writer.ts'
import { describeBatchKey, shardOf } from './keys.ts'
import { type Frame, type Place, readFrames } from './segment-file.ts'
import type { Segments } from './segments.ts'
import type { ShardWriter } from './shard-writer.ts'
import { decodePlace, isPlace } from './stored-values.ts'
import type { WriteGroup } from './write-group.ts'

export interface CompactionParts {
  readonly engine: Engine
  readonly segments: Segments
  readonly writer: GroupWriter
  readonly shardWriter: (shard: number) => Promise<ShardWriter>
}

type Candidate = Frame & { readonly place: Place }

const pieceBytes = 2 * 1024 * 1024

export class Compaction {
  readonly #parts: CompactionParts
  #running: Promise<void> | undefined
  #isStopped = false

  constructor(parts: CompactionParts) {
    this.#parts = parts
  }

  /** Begins when there is something to do and nothing is being done. */
  start(): void {
    if (this.#running !== undefined || this.#isStopped) return
    if (this.#parts.segments.worst() === undefined) return
    this.#running = this.#run().finally(() => {
      this.#running = undefined
    })
  }

  /** Ends what is being done at the next piece. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    const { segments, writer } = this.#parts
    for (;;) {
      const worst = segments.worst()
      if (worst === undefined || this.#isStopped || writer.broken) return
      try {
        await this.#copyRest(worst)
      } catch (error) {
        if (!(error instanceof StorageError)) throw error
        segments.giveUp(worst.segment)
      }
    }
  }

  async #copyRest(worst: { segment: number; bytes: number }): Promise<void> {
    const { segments } = this.#parts
    await segments.use(worst.segment, (file) => this.#copyFrom(file, worst))
    // Nothing of it is wanted any more, or what is could not be found.
    if (segments.worst()?.segment === worst.segment) segments.giveUp(worst.segment)
  }

  async #copyFrom(
    file: FileHandle,
    { segment, bytes }: { segment: number; bytes: number },
  ): Promise<void> {
    let piece: Candidate[] = []
    let size = 0
    for await (const frame of readFrames(file, segment, bytes)) {
      if (this.#isStopped) return
      if (!(await this.#isWanted(frame))) continue
      unsealBatch(frame.key, frame.value, describeBatchKey(frame.key).lastOffset)
      piece.push(frame)
      size += frame.value.length
      if (size < pieceBytes) continue
      await this.#move(piece)
      piece = []
      size = 0
    }
    if (piece.length > 0) await this.#move(piece)
  }

  /** The bytes go first, since the commits of clients that share the write wait for all of it. */
  async #move(piece: readonly Candidate[]): Promise<void> {
    const { segments, writer } = this.#parts
    const places = await segments.appendAhead(piece).catch((error: unknown) => {
      throw writer.break(error)
    })
    try {
      await writer.submit(0, (group) => this.#rewrite(group, piece, places))
    } finally {
      for (const place of places) segments.forget(place)
    }
  }

  /** Only what the database still has in this place, and no commit of the group changes. */
  async #rewrite(
    group: WriteGroup,
    piece: readonly Candidate[],
    places: readonly Place[],
  ): Promise<void> {
    const touched = new Set(group.operations.map(({ key }) => key.toString('latin1')))
    for (const [at, { key, value, place: from }] of piece.entries()) {
      if (touched.has(key.toString('latin1')) || !(await this.#isWanted({ key, place: from })))
        continue
      const place = places[at] as Place
      group.operations.push({ type: 'put', key, value, isBatch: true, from, place })
      const shard = await this.#parts.shardWriter(shardOf(key))
      shard.moved(key)
      group.shards.add(shard)
    }
  }

  async #isWanted({ key, place }: Pick<Candidate, 'key' | 'place'>): Promise<boolean> {
    const stored = await this.#parts.engine.get(key)
    if (stored === undefined || !isPlace(stored)) return false
    const { segment, position } = decodePlace(key, stored)
    return segment === place.segment && position === place.position
  }
}
