/** Who is at the other end, and why it is refused. Both sides say it before anything else. */
import type { Socket } from 'node:net'
import { Hello, Refusal } from '../gen/link.ts'
import { FrameReader, FrameWriter, LinkKind, LinkViolation, MAGIC } from './frames.ts'

export interface LinkIdentity {
  /** Empty: of no cluster. */
  readonly clusterId: string
  readonly senderId: string
  /** A new one for each start of the process. */
  readonly incarnation: string
  /** What the service says beyond this, in a message of its own. */
  readonly detail?: Uint8Array
}

export interface LinkHello extends Required<LinkIdentity> {
  readonly service: string
  /** Of the service. */
  readonly protocolVersion: number
}

/** The other side said why it does not want this link, or this side does not want what it found there. */
export class LinkRefusedError extends Error {
  override readonly name = 'LinkRefusedError'
}

/** No link, or none any more, for a reason that may pass. */
export class LinkBrokenError extends Error {
  override readonly name = 'LinkBrokenError'
}

export const HANDSHAKE_MS = 5_000
const HELLO_BYTES_MAX = 64 * 1024
const NOTHING = new Uint8Array(0)

export function writeHello(socket: Socket, hello: LinkIdentity & LinkTopic): void {
  const bytes = Hello.encode({ ...hello, detail: hello.detail ?? NOTHING }).finish()
  writeFirst(socket, LinkKind.hello, bytes)
}

interface LinkTopic {
  readonly service: string
  readonly protocolVersion: number
}

export function writeRefusal(socket: Socket, reason: string): void {
  writeFirst(socket, LinkKind.refusal, Refusal.encode({ reason }).finish())
}

function writeFirst(socket: Socket, kind: number, payload: Uint8Array): void {
  const writer = new FrameWriter()
  writer.push(kind, [payload])
  socket.write(Buffer.concat([MAGIC, ...writer.take()]))
}

export interface Greeting {
  readonly hello: LinkHello
  /** With what has come after the hello. */
  readonly reader: FrameReader
}

/**
 * Reads the first frame and leaves the socket paused.
 * @throws LinkRefusedError when it is a refusal.
 * @throws LinkBrokenError when it is something else, or nothing within the time.
 */
export function readHello(socket: Socket, timeoutMs = HANDSHAKE_MS): Promise<Greeting> {
  const reader = new FrameReader(HELLO_BYTES_MAX)
  let isMagicSeen = false
  const read = (chunk: Buffer): Greeting | undefined => {
    // Until the magic is complete nothing is consumed, so `push` puts the pieces together.
    reader.push(chunk)
    if (!isMagicSeen) {
      const magic = reader.raw(MAGIC.length)
      if (magic === undefined) return undefined
      if (!magic.equals(MAGIC)) throw new LinkViolation('what is there does not speak links')
      isMagicSeen = true
    }
    const frame = reader.next()
    if (frame === undefined) return undefined
    if (frame.kind === LinkKind.refusal) {
      throw new LinkRefusedError(Refusal.decode(frame.payload).reason)
    }
    if (frame.kind !== LinkKind.hello) throw new LinkViolation('a link begins with a hello')
    return { hello: Hello.decode(frame.payload), reader }
  }
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      clearTimeout(timer)
      socket.pause().off('data', onData).off('end', onClose)
      socket.off('close', onClose).off('error', onError)
      settle()
    }
    const fail = (error: unknown): void => finish(() => reject(asLinkError(error)))
    const timer = setTimeout(() => fail(new Error(`no hello within ${timeoutMs} ms`)), timeoutMs)
    const onError = (error: Error): void => fail(error)
    const onClose = (): void => fail(new Error('closed before the hello'))
    const onData = (chunk: Buffer): void => {
      try {
        const greeting = read(chunk)
        if (greeting !== undefined) finish(() => resolve(greeting))
      } catch (error) {
        fail(error)
      }
    }
    socket.on('data', onData).on('end', onClose).on('close', onClose).on('error', onError).resume()
  })
}

function asLinkError(cause: unknown): Error {
  if (cause instanceof LinkRefusedError || cause instanceof LinkBrokenError) return cause
  return new LinkBrokenError(cause instanceof Error ? cause.message : String(cause), { cause })
}

/** Why the two do not belong together; undefined when they do. */
export function mismatchOf(
  own: { readonly clusterId: string; readonly protocolVersion: number },
  other: LinkHello,
): string | undefined {
  const who = other.senderId === '' ? 'the other side' : other.senderId
  if (own.protocolVersion !== other.protocolVersion) {
    const versions = `version ${other.protocolVersion}, this side version ${own.protocolVersion}`
    return `${who} speaks ${other.service} in ${versions}`
  }
  const isStranger = own.clusterId !== '' && other.clusterId !== ''
  if (isStranger && own.clusterId !== other.clusterId) {
    return `${who} belongs to cluster ${other.clusterId}, this side to ${own.clusterId}`
  }
  return undefined
}
