/** Checks of requests that need no state, the same for every adapter. All throw StorageError. */
import { StorageError } from './errors.ts'
import { nameBytesMax, operationOverheadBytes } from './limits.ts'
import { baseOffset, checkBatch, RecordBatchError } from './record-batch/record-batch.ts'
import type {
  AppendOperation,
  CommitRequest,
  OpenRequest,
  Operation,
  ReadRequest,
  ScanRequest,
} from './storage-adapter.ts'

export function checkOpen(request: OpenRequest): void {
  checkShard(request.shard)
  checkEpoch(request.epoch)
  checkName(request.owner, 'owner')
}

/** Every operation is well formed, every batch intact or verified by the caller, and all together within `bytesMax`. Its size. */
export function checkCommit(request: CommitRequest, bytesMax: number): number {
  const bytes = checkCommitShape(request, bytesMax)
  for (const operation of request.operations) {
    if (operation.kind === 'append') checkAppend(operation)
    else if (operation.kind === 'replace') checkIntact(operation.batch, 'Replace')
  }
  return bytes
}

/** The same without looking into the batches. */
export function checkCommitShape(request: CommitRequest, bytesMax: number): number {
  checkShard(request.shard)
  checkEpoch(request.epoch)
  checkCount(request.commitNumber, 'commit number')
  const size = commitBytes(request)
  if (size > bytesMax) {
    throw new StorageError('TOO_LARGE', `A commit has ${bytesMax} bytes at most, this has ${size}`)
  }
  for (const operation of request.operations) checkOperation(operation)
  checkReplacements(request.operations)
  return size
}

/** What is replaced is found before anything is applied, so the log's batches must not change in between. */
function checkReplacements(operations: readonly Operation[]): void {
  if (!operations.some(({ kind }) => kind === 'replace')) return
  const replaced = new Set<string>()
  for (const operation of operations) if (operation.kind === 'replace') replaced.add(operation.log)
  for (const operation of operations) {
    const changes = operation.kind === 'trim' || operation.kind === 'drop-log'
    if (changes && replaced.has(operation.log)) {
      throw new StorageError('INVALID', `A commit replaces in log ${operation.log} and cuts it`)
    }
  }
}

/** Size of a commit as `commitBytesMax` counts it. */
export function commitBytes(request: CommitRequest): number {
  let size = 0
  for (const operation of request.operations) size += operationBytes(operation)
  return size
}

export function checkShardEpoch(shard: number, epoch: number): void {
  checkShard(shard)
  checkEpoch(epoch)
}

export function checkRead(request: ReadRequest): void {
  checkShard(request.shard)
  checkName(request.log, 'log')
  checkCount(request.fromOffset, 'offset')
  checkCount(request.bytesMax, 'byte limit')
}

export function checkScan(request: ScanRequest): void {
  checkShard(request.shard)
  // One byte more than a key: the bound that is just behind the longest one.
  checkName(request.from, 'key', nameBytesMax + 1)
  checkName(request.to, 'key', nameBytesMax + 1)
  checkCount(request.limit, 'limit')
}

export function checkShard(shard: number): void {
  if (!Number.isInteger(shard) || shard < 0 || shard > 0xffff_ffff) {
    throw new StorageError('INVALID', `${shard} is no shard number`)
  }
}

/** A name is any string that UTF-8 can hold, empty or with control characters included. */
export function checkName(name: string, what: string, bytesMax = nameBytesMax): void {
  if (typeof name !== 'string' || !isWellFormed(name)) {
    throw new StorageError('INVALID', `The ${what} is not well-formed text`)
  }
  // Three bytes per UTF-16 unit is the most that UTF-8 takes.
  if (name.length * 3 > bytesMax && Buffer.byteLength(name) > bytesMax) {
    throw new StorageError('TOO_LARGE', `The ${what} is longer than ${bytesMax} bytes`)
  }
}

const loneSurrogate = /\p{Surrogate}/u

/** Most names have no surrogates at all, which is seen at a fifth of the cost. */
function isWellFormed(name: string): boolean {
  if (name.length > 64) return !loneSurrogate.test(name)
  for (let at = 0; at < name.length; at += 1) {
    if (name.charCodeAt(at) >= 0xd800) return !loneSurrogate.test(name)
  }
  return true
}

function operationBytes(operation: Operation): number {
  switch (operation.kind) {
    case 'append':
    case 'replace':
      return operationOverheadBytes + Buffer.byteLength(operation.log) + operation.batch.length
    case 'put':
      return operationOverheadBytes + Buffer.byteLength(operation.key) + operation.value.length
    case 'delete':
      return operationOverheadBytes + Buffer.byteLength(operation.key)
    case 'delete-range':
      return (
        operationOverheadBytes + Buffer.byteLength(operation.from) + Buffer.byteLength(operation.to)
      )
    case 'trim':
    case 'drop-log':
    case 'begin-log':
      return operationOverheadBytes + Buffer.byteLength(operation.log)
    default:
      operation satisfies never
      throw new StorageError('INVALID', 'Unknown operation')
  }
}

function checkOperation(operation: Operation): void {
  switch (operation.kind) {
    case 'append':
      checkName(operation.log, 'log')
      checkCount(operation.expectedOffset, 'offset')
      return
    case 'put':
    case 'delete':
      checkName(operation.key, 'key')
      return
    case 'delete-range':
      checkName(operation.from, 'key')
      checkName(operation.to, 'key')
      return
    case 'trim':
      checkName(operation.log, 'log')
      checkCount(operation.beforeOffset, 'offset')
      return
    case 'drop-log':
    case 'replace':
      checkName(operation.log, 'log')
      return
    case 'begin-log':
      checkName(operation.log, 'log')
      checkCount(operation.offset, 'offset')
      return
    default:
      operation satisfies never
  }
}

function checkIntact(batch: Uint8Array, what: string): void {
  try {
    checkBatch(batch)
  } catch (error) {
    if (!(error instanceof RecordBatchError)) throw error
    throw new StorageError('INVALID', `${what}: ${error.message}`, { cause: error })
  }
}

function checkAppend({ batch, expectedOffset, verified }: AppendOperation): void {
  if (verified !== true) checkIntact(batch, 'Append')
  if (baseOffset(batch) !== expectedOffset) {
    throw new StorageError(
      'INVALID',
      `Append at ${expectedOffset} of a batch that begins at ${baseOffset(batch)}`,
    )
  }
}

function checkEpoch(epoch: number): void {
  if (!Number.isSafeInteger(epoch) || epoch < 1) {
    throw new StorageError('INVALID', `${epoch} is no epoch`)
  }
}

function checkCount(count: number, what: string): void {
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new StorageError('INVALID', `${count} is no ${what}`)
  }
}
