import { storage } from '@robust/proto'
import { expect, test } from 'vitest'
import { batchAt } from '../conformance/fixtures.ts'
import type { Operation } from '../storage-adapter.ts'
import { attachToRequest, decodeFrame, encodeFrame } from './attachments.ts'
import { decodeOperation, encodeOperation } from './operations.ts'

const large = 'x'.repeat(5_000)
const operations: Operation[] = [
  { kind: 'append', log: 'a', expectedOffset: 0, batch: batchAt(0, large, 'one') },
  { kind: 'put', key: 'k', value: Buffer.from('v') },
  { kind: 'append', log: 'a', expectedOffset: 2, batch: batchAt(2, 'small') },
  { kind: 'replace', log: 'b', batch: batchAt(7, large, 'two') },
]

function frameOf(): Buffer {
  const attached: Uint8Array[] = []
  const encoded = operations.map((operation) => encodeOperation(operation, attached))
  expect(attached.length).toBe(2)
  const value = { shard: 1, epoch: 2, commitNumber: 3, operations: encoded }
  const requests = [{ id: 1, kind: { $case: 'commit' as const, value } }]
  const message = storage.RequestFrame.encode({ requests, part: undefined }).finish()
  expect(message.length).toBeLessThan(500)
  return Buffer.concat(encodeFrame(message, attached))
}

function decoded(frame: Buffer): Operation[] {
  const { message, next } = decodeFrame(frame)
  const [request] = storage.RequestFrame.decode(message).requests
  if (request === undefined) throw new Error('no request')
  attachToRequest(request, next)
  if (request.kind?.$case !== 'commit') throw new Error('no commit')
  return request.kind.value.operations.map(decodeOperation)
}

test('decodeFrame gives each operation its batch again, in the message or behind it', () => {
  const found = decoded(frameOf())
  expect(found.map(({ kind }) => kind)).toEqual(operations.map(({ kind }) => kind))
  for (const [at, operation] of operations.entries()) {
    if (!('batch' in operation)) continue
    const other = found[at] as typeof operation
    expect(other.log).toBe(operation.log)
    expect(Buffer.compare(other.batch, operation.batch)).toBe(0)
  }
})

test('decodeFrame refuses a frame that is cut anywhere behind its message', () => {
  const frame = frameOf()
  const messageEnd = 4 + frame.readUInt32BE(0)
  for (const length of [0, 3, messageEnd - 1, messageEnd, messageEnd + 100, frame.length - 1]) {
    expect(() => decoded(frame.subarray(0, length)), String(length)).toThrow('too short')
  }
})

test('that a batch was verified is known in the process only that did it', () => {
  const batch = batchAt(0, 'one')
  const given: Operation = { kind: 'append', log: 'a', expectedOffset: 0, batch, verified: true }
  const { verified, ...rest } = given
  expect(verified).toBe(true)
  expect(decodeOperation(encodeOperation(given, undefined))).toEqual(rest)
})
