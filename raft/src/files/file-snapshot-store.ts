/**
 * Snapshots as files, one each: the bytes, then a footer record that describes them, then the length of
 * the footer and a mark. A file gets its name only when it is complete, synced and read back.
 */
import { createHash } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseMember } from '../core/configuration.ts'
import type { SnapshotMeta } from '../core/messages.ts'
import { SnapshotDamagedError } from '../errors.ts'
import type { SnapshotPosition, SnapshotProof, SnapshotStore } from '../ports/snapshot-store.ts'
import { decodeJsonRecord, encodeJsonRecord } from '../record.ts'

export interface FileSnapshotStoreOptions {
  /** Created when missing; used by one process at a time. */
  readonly directory: string
}

const SUFFIX = '.snapshot'
const UNFINISHED_SUFFIX = '.unfinished'
const MARK = new TextEncoder().encode('RAFTSNAP')
const TRAILER_BYTES = 4 + MARK.byteLength
/** Small enough not to hold the event loop while it is hashed. */
const CHUNK_BYTES = 256 * 1024
const FOOTER_BYTES_MAX = 1024 * 1024

export class FileSnapshotStore implements SnapshotStore {
  readonly #directory: string
  #created = 0

  constructor(options: FileSnapshotStoreOptions) {
    this.#directory = options.directory
  }

  async open(): Promise<void> {
    await mkdir(this.#directory, { recursive: true })
    for (const name of await readdir(this.#directory)) {
      if (name.endsWith(UNFINISHED_SUFFIX)) await rm(join(this.#directory, name))
    }
  }

  async list(): Promise<readonly SnapshotMeta[]> {
    const found: SnapshotMeta[] = []
    for (const name of await this.#names()) {
      const meta = await this.#describe(name)
      if (meta !== undefined) found.push(meta)
    }
    return found
  }

  /** Newest first: the names sort by index. */
  async #names(): Promise<readonly string[]> {
    const names = await readdir(this.#directory)
    return names
      .filter((name) => name.endsWith(SUFFIX))
      .sort()
      .reverse()
  }

  /** Undefined for a file that is damaged so far that it does not say what it is. */
  async #describe(name: string): Promise<SnapshotMeta | undefined> {
    const file = await open(join(this.#directory, name), 'r')
    try {
      return await readFooter(file)
    } catch (error) {
      if (error instanceof SnapshotDamagedError) return undefined
      throw error
    } finally {
      await file.close()
    }
  }

  async create(
    position: SnapshotPosition,
    chunks: AsyncIterable<Uint8Array>,
    proof?: SnapshotProof,
  ): Promise<SnapshotMeta> {
    this.#created += 1
    const name = fileName(position)
    const unfinished = join(this.#directory, `${name}.${this.#created}${UNFINISHED_SUFFIX}`)
    try {
      const meta = await writeSnapshot(unfinished, position, chunks)
      if (proof !== undefined && (meta.bytes !== proof.bytes || meta.sha256 !== proof.sha256)) {
        throw new SnapshotDamagedError(`snapshot ${meta.index} is not the one that was announced`)
      }
      for await (const _ of readVerified(unfinished, meta)) {
        // Only the check at the end matters.
      }
      await rename(unfinished, join(this.#directory, name))
      await syncDirectory(this.#directory)
      return meta
    } catch (error) {
      await rm(unfinished, { force: true })
      throw error
    }
  }

  read(snapshot: SnapshotMeta): AsyncIterable<Uint8Array> {
    return readVerified(join(this.#directory, fileName(snapshot)), snapshot)
  }

  async retain(count: number): Promise<void> {
    const names = await this.#names()
    for (const name of names.slice(count)) await rm(join(this.#directory, name), { force: true })
  }
}

function fileName(position: Pick<SnapshotMeta, 'index' | 'term'>): string {
  const digits = (value: number): string => value.toString(16).padStart(16, '0')
  return `${digits(position.index)}-${digits(position.term)}${SUFFIX}`
}

async function writeSnapshot(
  path: string,
  position: SnapshotPosition,
  chunks: AsyncIterable<Uint8Array>,
): Promise<SnapshotMeta> {
  const file = await open(path, 'w')
  try {
    const hash = createHash('sha256')
    let bytes = 0
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.byteLength; at += CHUNK_BYTES) {
        const slice = chunk.subarray(at, at + CHUNK_BYTES)
        hash.update(slice)
        await writeAll(file, slice)
        bytes += slice.byteLength
      }
    }
    const { index, term, members, configurationIndex = 0 } = position
    const sha256 = hash.digest('hex')
    const meta: SnapshotMeta = { index, term, members, configurationIndex, bytes, sha256 }
    const footer = encodeJsonRecord(meta)
    const trailer = new Uint8Array(TRAILER_BYTES)
    new DataView(trailer.buffer).setUint32(0, footer.byteLength)
    trailer.set(MARK, 4)
    await writeAll(file, footer)
    await writeAll(file, trailer)
    await file.sync()
    return meta
  } finally {
    await file.close()
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let written = 0
  while (written < bytes.byteLength) {
    written += (await file.write(bytes, written)).bytesWritten
  }
}

async function* readVerified(path: string, expected: SnapshotMeta): AsyncGenerator<Uint8Array> {
  const file = await open(path, 'r')
  try {
    const meta = await readFooter(file)
    if (meta.sha256 !== expected.sha256 || meta.bytes !== expected.bytes) {
      throw new SnapshotDamagedError(`snapshot ${expected.index} is not the one that was listed`)
    }
    const hash = createHash('sha256')
    for (let at = 0; at < meta.bytes; ) {
      const chunk = await readAt(file, at, Math.min(CHUNK_BYTES, meta.bytes - at))
      hash.update(chunk)
      at += chunk.byteLength
      // The last chunk is not given out before the whole has been checked.
      if (at < meta.bytes) yield chunk
      else if (hash.digest('hex') === meta.sha256) yield chunk
      else throw new SnapshotDamagedError(`the bytes of snapshot ${meta.index} are damaged`)
    }
  } finally {
    await file.close()
  }
}

async function readFooter(file: FileHandle): Promise<SnapshotMeta> {
  const { size } = await file.stat()
  if (size < TRAILER_BYTES) throw new SnapshotDamagedError('a snapshot file is too short')
  const trailer = await readAt(file, size - TRAILER_BYTES, TRAILER_BYTES)
  const footerBytes = new DataView(trailer.buffer, trailer.byteOffset).getUint32(0)
  const bytes = size - TRAILER_BYTES - footerBytes
  const isMarked = MARK.every((byte, index) => trailer[4 + index] === byte)
  if (!isMarked || bytes < 0 || footerBytes > FOOTER_BYTES_MAX) {
    throw new SnapshotDamagedError('a snapshot file has no footer')
  }
  const meta = parseFooter(await readAt(file, bytes, footerBytes))
  if (meta.bytes !== bytes) throw new SnapshotDamagedError('a snapshot file has the wrong length')
  return meta
}

function parseFooter(footer: Uint8Array): SnapshotMeta {
  try {
    const record = decodeJsonRecord(footer)
    // Absent in a file of before members could change.
    const { index, term, members, configurationIndex = 0, bytes, sha256 } = record
    if (
      typeof index === 'number' &&
      typeof term === 'number' &&
      Array.isArray(members) &&
      typeof configurationIndex === 'number' &&
      typeof bytes === 'number' &&
      typeof sha256 === 'string'
    ) {
      const parsed = members.map(parseMember)
      return { index, term, members: parsed, configurationIndex, bytes, sha256 }
    }
  } catch (error) {
    throw new SnapshotDamagedError('the footer of a snapshot file is damaged', { cause: error })
  }
  throw new SnapshotDamagedError('the footer of a snapshot file is malformed')
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, position + filled)
    if (bytesRead === 0) throw new SnapshotDamagedError('a snapshot file ends early')
    filled += bytesRead
  }
  return bytes
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
