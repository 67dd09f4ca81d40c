/**
 * A frame: a message, and behind it the batches that belong to it. Encoding a batch into a message would copy it
 * once for each message that it is nested in.
 */
import type { storage } from '@robust/proto'
import { StorageError } from '../errors.ts'

const lengthBytes = 4
/** Smaller ones cost less inside the message. */
export const attachedBytesMin = 1024

export function encodeFrame(message: Uint8Array, attached: readonly Uint8Array[]): Uint8Array[] {
  const length = Buffer.allocUnsafe(lengthBytes)
  length.writeUInt32BE(message.length, 0)
  return [length, message, ...attached]
}

/** The message, and what takes its batches one after the other. Throws StorageError when bytes are missing. */
export function decodeFrame(frame: Buffer): { message: Buffer; next: (bytes: number) => Buffer } {
  let at = 0
  const next = (bytes: number): Buffer => {
    if (at + bytes > frame.length) throw new StorageError('UNAVAILABLE', 'A frame is too short')
    at += bytes
    return frame.subarray(at - bytes, at)
  }
  const length = next(lengthBytes).readUInt32BE(0)
  return { message: next(length), next }
}

/** Gives the operations of a commit the batches that came behind the message. */
export function attachToRequest({ kind }: storage.Request, next: (bytes: number) => Buffer): void {
  if (kind?.$case !== 'commit') return
  for (const { kind: operation } of kind.value.operations) {
    if (operation?.$case !== 'append' && operation?.$case !== 'replace') continue
    const { value } = operation
    if (value.batchBytes > 0) value.batch = next(value.batchBytes)
  }
}

/** Gives a part of a read its batches. */
export function attachToResponse(
  { kind }: storage.Response,
  next: (bytes: number) => Buffer,
): void {
  if (kind?.$case !== 'read') return
  for (const bytes of kind.value.batchBytes) kind.value.batches.push(next(bytes))
}
