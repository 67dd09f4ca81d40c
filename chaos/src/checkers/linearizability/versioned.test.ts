import { describe, expect, it } from 'vitest'
import { checkLinearizability } from './linearizability.ts'
import type { History } from './recorder.ts'
import { VERSIONED, type VersionedInput, type VersionedOutput } from './versioned.ts'

type Written = readonly [from: number, to: number, VersionedInput, VersionedOutput?]

function history(...operations: readonly Written[]): History<VersionedInput, VersionedOutput> {
  return operations.map(([invokedMs, to, input, output]) => ({
    client: `${invokedMs}`,
    key: 'k',
    input,
    output,
    outcome: output === undefined ? 'unknown' : 'ok',
    invokedMs,
    completedMs: output === undefined ? undefined : to,
  }))
}

const READ: VersionedInput = { kind: 'read' }
const put = (expected: number, value: string): VersionedInput => ({ kind: 'put', expected, value })
const done = (version: number): VersionedOutput => ({ kind: 'put', version })
const found = (value: string, version: number): VersionedOutput => ({
  kind: 'found',
  value,
  version,
})
const conflict = (version: number): VersionedOutput => ({ kind: 'conflict', version })
const NONE: VersionedOutput = { kind: 'none' }

const GOOD: Readonly<Record<string, readonly Written[]>> = {
  'made, changed, read, deleted, made again': [
    [0, 1, put(0, 'a'), done(5)],
    [2, 3, put(5, 'b'), done(9)],
    [4, 5, READ, found('b', 9)],
    [6, 7, { kind: 'delete', expected: 9 }, { kind: 'deleted' }],
    [8, 9, READ, NONE],
    [10, 11, put(9, 'x'), conflict(0)],
    [12, 13, put(0, 'c'), done(12)],
  ],
  'of two at once one wins': [
    [0, 10, put(0, 'a'), done(5)],
    [0, 10, put(0, 'b'), conflict(5)],
  ],
  'an unknown one is seen later': [
    [0, 1, put(0, 'a')],
    [2, 3, READ, NONE],
    [4, 5, READ, found('a', 7)],
    [6, 7, put(7, 'b'), done(8)],
  ],
  'an unknown one was never done': [
    [0, 1, put(0, 'a')],
    [2, 3, put(0, 'b'), done(3)],
    [4, 5, READ, found('b', 3)],
  ],
}

const BAD: Readonly<Record<string, readonly Written[]>> = {
  'a read of the past': [
    [0, 1, put(0, 'a'), done(5)],
    [2, 3, put(5, 'b'), done(6)],
    [4, 5, READ, found('a', 5)],
  ],
  'a change that is lost': [
    [0, 1, put(0, 'a'), done(5)],
    [2, 3, READ, NONE],
  ],
  'both of two win': [
    [0, 10, put(0, 'a'), done(5)],
    [0, 10, put(0, 'b'), done(6)],
  ],
  'a version that does not grow': [
    [0, 1, put(0, 'a'), done(5)],
    [2, 3, put(5, 'b'), done(5)],
  ],
  'a conflict where there is none': [
    [0, 1, put(0, 'a'), done(5)],
    [2, 3, put(5, 'b'), conflict(4)],
  ],
  'an unknown one that is done twice': [
    [0, 1, put(0, 'a'), done(5)],
    [2, 3, put(5, 'b')],
    [4, 5, READ, found('b', 6)],
    [6, 7, put(6, 'c'), done(7)],
    [8, 9, READ, found('b', 8)],
  ],
}

describe('a value with versions', () => {
  it.each(Object.entries(GOOD))('is fine: %s', (_, operations) => {
    expect(checkLinearizability(history(...operations), VERSIONED).kind).toBe('linearizable')
  })

  it.each(Object.entries(BAD))('is not: %s', (_, operations) => {
    expect(checkLinearizability(history(...operations), VERSIONED).kind).toBe('violation')
  })
})
