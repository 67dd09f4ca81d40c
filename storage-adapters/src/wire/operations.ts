/** Operations of a commit to and from their wire form. Bytes are passed on as they are. */
import type { storage } from '@robust/proto'
import { StorageError } from '../errors.ts'
import type { Operation } from '../storage-adapter.ts'
import { attachedBytesMin } from './attachments.ts'

/** Batches that are not small go to `attached`, when it is given, instead of into the message. */
export function encodeOperation(
  operation: Operation,
  attached: Uint8Array[] | undefined,
): storage.Operation {
  switch (operation.kind) {
    case 'append': {
      const { log, expectedOffset } = operation
      const value = { log, expectedOffset, ...encodeBatch(operation.batch, attached) }
      return { kind: { $case: 'append', value } }
    }
    case 'put':
      return { kind: { $case: 'put', value: { key: operation.key, value: operation.value } } }
    case 'delete':
      return { kind: { $case: 'deleteKey', value: operation.key } }
    case 'delete-range': {
      const { from, to } = operation
      return { kind: { $case: 'deleteRange', value: { from, to } } }
    }
    case 'trim': {
      const { log, beforeOffset } = operation
      return { kind: { $case: 'trim', value: { log, beforeOffset } } }
    }
    case 'replace': {
      const value = { log: operation.log, ...encodeBatch(operation.batch, attached) }
      return { kind: { $case: 'replace', value } }
    }
    case 'drop-log':
      return { kind: { $case: 'dropLog', value: operation.log } }
    case 'begin-log': {
      const { log, offset } = operation
      return { kind: { $case: 'beginLog', value: { log, offset } } }
    }
    default:
      operation satisfies never
      throw new StorageError('INVALID', 'Unknown operation')
  }
}

function encodeBatch(batch: Uint8Array, attached: Uint8Array[] | undefined) {
  if (attached === undefined || batch.length < attachedBytesMin) return { batch, batchBytes: 0 }
  attached.push(batch)
  return { batch: noBytes, batchBytes: batch.length }
}

const noBytes = new Uint8Array(0)

/** Throws INVALID for an operation that this version does not know. */
export function decodeOperation({ kind }: storage.Operation): Operation {
  switch (kind?.$case) {
    case 'append':
      return {
        kind: 'append',
        log: kind.value.log,
        expectedOffset: kind.value.expectedOffset,
        batch: kind.value.batch,
      }
    case 'put':
      return { kind: 'put', ...kind.value }
    case 'deleteKey':
      return { kind: 'delete', key: kind.value }
    case 'deleteRange':
      return { kind: 'delete-range', ...kind.value }
    case 'trim':
      return { kind: 'trim', ...kind.value }
    case 'replace':
      return { kind: 'replace', log: kind.value.log, batch: kind.value.batch }
    case 'dropLog':
      return { kind: 'drop-log', log: kind.value }
    case 'beginLog':
      return { kind: 'begin-log', ...kind.value }
    case undefined:
      throw new StorageError('INVALID', 'Unknown operation')
    default:
      kind satisfies never
      throw new StorageError('INVALID', 'Unknown operation')
  }
}
