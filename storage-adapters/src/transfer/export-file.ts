/**
 * The file that `robust storage export` writes, the same for every adapter. Numbers are big-endian.
 *
 *     file   "ROBUST-STORAGE 1\n", then frames up to the one that ends it
 *     frame  length:4  crc:4  payload       length and CRC-32C of the payload
 *     payload  kind:1  meta-length:4  meta  body      meta is JSON, body is bytes
 *
 *     kind      meta                                              body
 *     1 file    createdAt, adapter, shards                        -
 *     2 shard   shard, epoch, commitNumber, incarnation           -
 *     3 log     log, startOffset, endOffset                       -
 *     4 batch   -                                                 one Kafka record batch, format 2
 *     5 key     key                                               its value
 *     6 end     shard, logs, batches, keys                        -
 *     7 close   shards                                            -
 *
 * A shard is its frame, each log followed by its batches, the keys in order, its end. A file without the
 * last frame is not whole.
 */
import { StorageError } from '../errors.ts'
import { crc32c } from '../record-batch/crc32c.ts'

export type Frame =
  | { kind: 'file'; meta: { createdAt: string; adapter: string; shards: number } }
  | {
      kind: 'shard'
      meta: { shard: number; epoch: number; commitNumber: number; incarnation: string }
    }
  | { kind: 'log'; meta: { log: string; startOffset: number; endOffset: number } }
  | { kind: 'batch'; meta: Record<string, never>; body: Uint8Array }
  | { kind: 'key'; meta: { key: string }; body: Uint8Array }
  | { kind: 'end'; meta: { shard: number; logs: number; batches: number; keys: number } }
  | { kind: 'close'; meta: { shards: number } }

const kinds = ['', 'file', 'shard', 'log', 'batch', 'key', 'end', 'close'] as const

const magic = Buffer.from('ROBUST-STORAGE 1\n')
const headBytes = 8
/** The largest value, with its name escaped in the worst way. */
const frameBytesMax = 80 * 1024 * 1024

export async function* encodeFrames(frames: AsyncIterable<Frame>): AsyncGenerator<Buffer> {
  yield magic
  for await (const frame of frames) {
    const body = 'body' in frame ? frame.body : new Uint8Array(0)
    const meta = Buffer.from(JSON.stringify(frame.meta))
    const bytes = Buffer.allocUnsafe(headBytes + 5 + meta.length + body.length)
    bytes.writeUInt32BE(bytes.length - headBytes, 0)
    bytes[headBytes] = kinds.indexOf(frame.kind)
    bytes.writeUInt32BE(meta.length, headBytes + 1)
    meta.copy(bytes, headBytes + 5)
    bytes.set(body, headBytes + 5 + meta.length)
    bytes.writeUInt32BE(crc32c(bytes.subarray(headBytes)), 4)
    yield bytes
  }
}

/** Throws INVALID for what is no such file, DATA_LOSS for one that is damaged or cut short. */
export async function* decodeFrames(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Frame> {
  const source = new ByteSource(chunks)
  if (!(await source.take(magic.length))?.equals(magic)) {
    throw new StorageError('INVALID', 'This is no file of robust storage export')
  }
  for (let last = ''; last !== 'close'; ) {
    const at = source.position
    const head = await source.take(headBytes)
    const length = head?.readUInt32BE(0) ?? 0
    const payload = length > frameBytesMax ? undefined : await source.take(length)
    if (!head || !payload) throw damaged(`it ends in the middle, or is damaged, at byte ${at}`)
    if (head.readUInt32BE(4) !== crc32c(payload)) throw damaged(`wrong checksum at byte ${at}`)
    const frame = decodeFrame(payload, at)
    last = frame.kind
    yield frame
  }
}

function decodeFrame(payload: Buffer, at: number): Frame {
  const kind = kinds[payload[0] ?? 0]
  if (!kind) throw damaged(`a frame of unknown kind ${payload[0]} at byte ${at}`)
  const metaEnd = 5 + payload.readUInt32BE(1)
  const meta = JSON.parse(payload.toString('utf8', 5, metaEnd))
  const body = payload.subarray(metaEnd)
  return { kind, meta, body } as Frame
}

function damaged(why: string): StorageError {
  return new StorageError('DATA_LOSS', `The export file: ${why}`)
}

/** Takes exact numbers of bytes from chunks of any size. */
class ByteSource {
  position = 0
  readonly #chunks: AsyncIterator<Uint8Array>
  #held: Buffer = Buffer.alloc(0)

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]()
  }

  /** Undefined when there are not as many. */
  async take(count: number): Promise<Buffer | undefined> {
    const parts = [this.#held]
    let held = this.#held.length
    while (held < count) {
      const { value, done } = await this.#chunks.next()
      if (done) return undefined
      const part = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      parts.push(part)
      held += part.length
    }
    const all = parts.length === 1 ? this.#held : Buffer.concat(parts, held)
    this.#held = all.subarray(count)
    this.position += count
    return all.subarray(0, count)
  }
}
