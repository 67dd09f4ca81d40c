/**
 * Files that hold batches, as values that LevelDB would write several times: once to its log, once to a
 * table, and again with every merge. A file is written from its begin to its end once and never changed.
 *
 *     frame   key-length:4  value-length:4  key  value
 *
 * A frame means nothing by itself: what counts is the place that stands behind its key in the database.
 */
import { constants, read } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { StorageError } from '../errors.ts'

export interface Place {
  readonly segment: number
  /** Of the value in the file. */
  readonly position: number
}

export interface Frame {
  readonly key: Buffer
  readonly value: Buffer
}

const frameHeadBytes = 8
const buffersPerWrite = 512
/** A frame is one of ours only up to this: a key, or the largest batch, with room. */
const partBytesMax = 72 * 1024 * 1024

function frameBytes({ key, value }: Frame): number {
  return frameHeadBytes + key.length + value.length
}

/** Appends the frames at the position and syncs them; where each value is. */
export async function appendFrames(
  file: FileHandle,
  at: { readonly segment: number; position: number },
  frames: readonly Frame[],
): Promise<Place[]> {
  const places: Place[] = []
  let buffers: Buffer[] = []
  let { position } = at
  let from = position
  for (const frame of frames) {
    const head = Buffer.allocUnsafe(frameHeadBytes)
    head.writeUInt32BE(frame.key.length, 0)
    head.writeUInt32BE(frame.value.length, 4)
    buffers.push(head, frame.key, frame.value)
    places.push({ segment: at.segment, position: position + frameHeadBytes + frame.key.length })
    position += frameBytes(frame)
    if (buffers.length < buffersPerWrite) continue
    await writeAll(file, buffers, from)
    buffers = []
    from = position
  }
  if (buffers.length > 0) await writeAll(file, buffers, from)
  await file.datasync()
  at.position = position
  return places
}

async function writeAll(file: FileHandle, buffers: Buffer[], position: number): Promise<void> {
  let at = position
  let left = buffers
  while (left.length > 0) {
    const { bytesWritten } = await file.writev(left, at)
    at += bytesWritten
    left = skip(left, bytesWritten)
  }
}

/** What is left of the buffers behind so many bytes. */
function skip(buffers: readonly Buffer[], bytes: number): Buffer[] {
  let index = 0
  let left = bytes
  while (index < buffers.length && left >= (buffers[index]?.length ?? 0)) {
    left -= buffers[index]?.length ?? 0
    index += 1
  }
  const rest = buffers.slice(index)
  const [first] = rest
  if (first !== undefined && left > 0) rest[0] = first.subarray(left)
  return rest
}

/** Exactly so many bytes. Rejects with DATA_LOSS when the file ends before. */
export async function readExactly(
  file: FileHandle,
  position: number,
  bytes: number,
): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(bytes)
  let done = 0
  while (done < bytes) {
    const bytesRead = await readSome(file, buffer.subarray(done), position + done)
    if (bytesRead === 0) throw new StorageError('DATA_LOSS', 'A segment file ends too early')
    done += bytesRead
  }
  return buffer
}

/** The handle's own `read` costs twice as much. */
function readSome(file: FileHandle, into: Buffer, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(file.fd, into, 0, into.length, position, (error, bytesRead) => {
      if (error) reject(error)
      else resolve(bytesRead)
    })
  })
}

/** All frames with their places, up to `end`. Throws DATA_LOSS where they do not go on. */
export async function* readFrames(
  file: FileHandle,
  segment: number,
  end: number,
): AsyncGenerator<Frame & { readonly place: Place }> {
  for (let at = 0; at < end; ) {
    const head = await readExactly(file, at, frameHeadBytes)
    const [keyBytes, valueBytes] = [head.readUInt32BE(0), head.readUInt32BE(4)]
    if (keyBytes > partBytesMax || valueBytes > partBytesMax) {
      throw new StorageError('DATA_LOSS', `Segment ${segment} is damaged at ${at}`)
    }
    const body = await readExactly(file, at + frameHeadBytes, keyBytes + valueBytes)
    const place = { segment, position: at + frameHeadBytes + keyBytes }
    yield { key: body.subarray(0, keyBytes), value: body.subarray(keyBytes), place }
    at += frameHeadBytes + keyBytes + valueBytes
  }
}

/** A new file, whose name is on the disk too. */
export async function createFile(folder: string, path: string): Promise<FileHandle> {
  const flags = constants.O_CREAT | constants.O_EXCL | constants.O_RDWR
  const file = await open(path, flags, 0o644)
  const directory = await open(folder, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
  return file
}
