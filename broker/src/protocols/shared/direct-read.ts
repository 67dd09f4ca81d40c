/**
 * Reads a TCP socket into one buffer that all of them share, as clients may by the `onread` option of net.connect and
 * servers may not. Node's streams set 64 KiB aside for each read, which many clients that send little at a time pay for
 * with every packet.
 */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'

const SHARED_BYTES = 64 * 1024

type OnRead = (bytes: number, buffer: Buffer) => boolean

interface SocketHandle {
  useUserBuffer?(buffer: Uint8Array): void
}

type Insides = Socket & { _handle?: SocketHandle | null } & Record<symbol, unknown>

/** Where a socket keeps what `onread` gave it; undefined: this Node does it in another way. */
const KEYS = keysOf()
const shared = Buffer.allocUnsafeSlow(SHARED_BYTES)

/**
 * From now on what comes goes to `onChunk`, each chunk with memory of its own, and never to the stream's 'data'. Only
 * for a socket that is read already, and has handed out all that came. `pause`, `resume`, 'end' and 'close' stay as
 * they are. False: this stream is none that can be read so; nothing has changed.
 */
export function readDirectly(stream: Duplex, onChunk: (chunk: Buffer) => void): boolean {
  if (KEYS === undefined || !(stream instanceof Socket) || stream instanceof TLSSocket) return false
  const socket = stream as Insides
  const handle = socket._handle
  if (typeof handle?.useUserBuffer !== 'function' || stream.readableLength > 0) return false
  const onRead: OnRead = (bytes, buffer) => {
    onChunk(ownMemory(buffer, bytes))
    return true
  }
  socket[KEYS.buffer] = shared
  socket[KEYS.callback] = onRead
  handle.useUserBuffer(shared)
  return true
}

/** None of Buffer's pool: a session that keeps a few bytes would keep the 8 KiB around them. */
function ownMemory(buffer: Buffer, bytes: number): Buffer {
  const chunk = Buffer.allocUnsafeSlow(bytes)
  buffer.copy(chunk, 0, 0, bytes)
  return chunk
}

function keysOf(): { buffer: symbol; callback: symbol } | undefined {
  const symbols = Object.getOwnPropertySymbols(new Socket())
  const named = (name: string): symbol | undefined =>
    symbols.find(({ description }) => description === name)
  const [buffer, callback] = [named('kBuffer'), named('kBufferCb')]
  return buffer === undefined || callback === undefined ? undefined : { buffer, callback }
}
