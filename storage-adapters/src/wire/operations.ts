/** Operations of a commit to and from their wire form. Bytes are passed on as they are. */
import type { storage } from '@robust/proto'
import { StorageError } from '../errors.ts'
import type { Operation } from '../storage-adapter.ts'

export function encodeOperation(operation: Operation): storage.Operation {
  switch (operation.kind) {
    case 'append': {
      const { log, expectedOffset, batch } = operation
      return { kind: { $case: 'append', value: { log, expectedOffset, batch } } }
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
      const { log, batch } = operation
      return { kind: { $case: 'replace', value: { log, batch } } }
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
      return { kind: 'replace', ...kind.value }
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
