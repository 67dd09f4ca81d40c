/**
 * The part of a commit that needs no state: keys and checksummed values. Done when a commit arrives, so
 * that it overlaps with the write that is on its way.
 */
import { nextOffset } from '../record-batch/record-batch.ts'
import { sealBatch, sealValue } from '../sealed-values.ts'
import type { CommitRequest, Operation } from '../storage-adapter.ts'
import { batchKey, type KeyRange, valueKey, valueRange } from './keys.ts'
import type { PutOperation, WriteOperation } from './write-group.ts'

export type PreparedOperation =
  | { readonly kind: 'write'; readonly write: WriteOperation }
  | { readonly kind: 'delete-range'; readonly range: KeyRange }
  | {
      readonly kind: 'append'
      readonly log: string
      readonly offset: number
      readonly nextOffset: number
      readonly bytes: number
      readonly write: PutOperation
    }
  | {
      readonly kind: 'replace'
      readonly log: string
      readonly batch: Uint8Array
      readonly write: PutOperation
    }
  | { readonly kind: 'trim'; readonly log: string; readonly beforeOffset: number }
  | { readonly kind: 'drop-log'; readonly log: string }
  | { readonly kind: 'begin-log'; readonly log: string; readonly offset: number }

export function prepareCommit(request: CommitRequest): PreparedOperation[] {
  return request.operations.map((operation) => prepareOperation(request.shard, operation))
}

function prepareOperation(shard: number, operation: Operation): PreparedOperation {
  switch (operation.kind) {
    case 'append': {
      const { log, batch } = operation
      const write = { ...batchWrite(shard, operation), stored: { place: undefined } }
      const { expectedOffset: offset } = operation
      const bytes = batch.length
      return { kind: 'append', log, offset, nextOffset: nextOffset(batch), bytes, write }
    }
    case 'replace':
      return { ...operation, write: batchWrite(shard, operation) }
    case 'put': {
      const key = valueKey(shard, operation.key)
      return { kind: 'write', write: { type: 'put', key, value: sealValue(key, operation.value) } }
    }
    case 'delete':
      return { kind: 'write', write: { type: 'del', key: valueKey(shard, operation.key) } }
    case 'delete-range':
      return { kind: 'delete-range', range: valueRange(shard, operation.from, operation.to) }
    case 'trim':
    case 'drop-log':
    case 'begin-log':
      return operation
    default:
      operation satisfies never
      throw new TypeError('Unknown operation')
  }
}

function batchWrite(shard: number, place: { log: string; batch: Uint8Array }): PutOperation {
  const { log, batch } = place
  const key = batchKey({ shard, log }, nextOffset(batch) - 1, batch.length)
  return { type: 'put', key, value: sealBatch(key, batch), isBatch: true }
}
