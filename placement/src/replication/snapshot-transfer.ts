/** A snapshot over its own stream: both sides. No more than one chunk waits in memory on either. */
import {
  type ClientWritableStream,
  Metadata,
  type ServerReadableStream,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'
import type { raft as wire } from '@robust/proto'
import type { RaftMessage, SnapshotHeader, TransportReceiver } from 'raft-ts'
import {
  fromWireMessage,
  fromWireSnapshotHeader,
  toWireEnvelope,
  toWireMessage,
  toWireSnapshotHeader,
} from './wire.ts'

/** For the whole transfer and its installation. */
const TRANSFER_TIMEOUT_MS = 120_000

export interface SnapshotSending {
  readonly header: SnapshotHeader
  readonly chunks: AsyncIterable<Uint8Array>
  /** Called with the running call, so that it can be cancelled. */
  readonly onCall: (call: { cancel(): void }) => void
}

/** Rejects when the stream breaks, the follower refuses the stream, or the time is over. */
export async function sendSnapshot(
  client: wire.RaftTransportClient,
  { header, chunks, onCall }: SnapshotSending,
): Promise<RaftMessage> {
  let call: ClientWritableStream<wire.SnapshotPart> | undefined
  const answer = new Promise<wire.RaftFrame>((resolve, reject) => {
    const options = { deadline: Date.now() + TRANSFER_TIMEOUT_MS }
    call = client.installSnapshot(new Metadata(), options, (error, frame) => {
      if (error) reject(error)
      else resolve(frame)
    })
    call.on('error', reject)
  })
  if (call === undefined) throw new Error('the snapshot stream was not opened')
  onCall(call)
  let isOver = false
  const answered = answer.finally(() => {
    isOver = true
  })
  answered.catch(() => undefined)
  const sending = call
  try {
    sending.write({ kind: { $case: 'header', value: toWireSnapshotHeader(header) } })
    for await (const chunk of chunks) {
      // The follower may answer before the end: it has the snapshot already, or refuses it.
      if (isOver) break
      const isFull = !sending.write({ kind: { $case: 'chunk', value: chunk } })
      if (isFull) await Promise.race([drained(sending), answered])
    }
    if (!isOver) {
      sending.write({ kind: { $case: 'end', value: true } })
      sending.end()
    }
  } catch (error) {
    sending.cancel()
    throw error
  }
  return readAnswer(await answered)
}

function drained(call: ClientWritableStream<wire.SnapshotPart>): Promise<void> {
  return new Promise((resolve) => call.once('drain', () => resolve()))
}

function readAnswer(frame: wire.RaftFrame): RaftMessage {
  const message = frame.messages[0]
  const answer = frame.envelope && message ? fromWireMessage(frame.envelope, message) : undefined
  if (answer === undefined) throw new Error('a snapshot was answered with nothing readable')
  return answer
}

export async function receiveSnapshot(
  call: ServerReadableStream<wire.SnapshotPart, wire.RaftFrame>,
  done: sendUnaryData<wire.RaftFrame>,
  accept: (header: SnapshotHeader) => TransportReceiver | string,
): Promise<void> {
  // One reader for the header and the chunks: a second one would miss what the first has buffered.
  const parts = partsOf(call)
  try {
    const first = await parts.next()
    const kind = first.done === true ? undefined : first.value.kind
    const header = kind?.$case === 'header' ? fromWireSnapshotHeader(kind.value) : undefined
    if (header === undefined) {
      done(refusal(status.INVALID_ARGUMENT, 'a snapshot stream begins with its header'))
      return
    }
    const receiver = accept(header)
    if (typeof receiver === 'string') {
      done(refusal(status.FAILED_PRECONDITION, receiver))
      return
    }
    const answer = await receiver.snapshot(header, chunksOf(parts))
    done(null, { envelope: toWireEnvelope(answer), messages: [toWireMessage(answer)] })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    if (!call.cancelled) done(refusal(status.ABORTED, reason))
  }
}

function refusal(code: status, details: string): Partial<ServiceError> {
  return { code, details }
}

async function* partsOf(
  call: ServerReadableStream<wire.SnapshotPart, wire.RaftFrame>,
): AsyncGenerator<wire.SnapshotPart> {
  call.on('cancelled', () => call.destroy(new Error('the snapshot stream broke')))
  // A stream that is cut off can end like one that is complete: the last part tells them apart.
  for await (const part of call) yield part as wire.SnapshotPart
}

async function* chunksOf(parts: AsyncGenerator<wire.SnapshotPart>): AsyncGenerator<Uint8Array> {
  for await (const { kind } of parts) {
    if (kind?.$case === 'end') return
    if (kind?.$case !== 'chunk') throw new Error('a snapshot stream has a part without bytes')
    yield kind.value
  }
  throw new Error('the snapshot stream broke')
}
