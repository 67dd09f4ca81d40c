import { beforeEach, describe, expect, test } from 'vitest'
import {
  abortedFor,
  type Decision,
  decideEnd,
  decideInit,
  decideJoin,
  endedOf,
  identityOf,
  newTransaction,
  type Transaction,
  type TransactionState,
} from './transaction.ts'

let newest = 100
const now = { nowMs: 5_000, newProducerId: () => ++newest }
const partition = { topic: 't', partition: 0, log: 'topic/1/0', shard: 3 }
const partitions = [partition]

beforeEach(() => {
  newest = 100
})

function fresh(more: Partial<Transaction> = {}): Transaction {
  return { ...newTransaction('shop', 60_000, now), ...more }
}

function taken(decision: Decision): Transaction {
  if ('fault' in decision) throw new Error(decision.fault)
  return decision.transaction
}

const of = ({ producerId, epoch }: Transaction) => ({ producerId, epoch })

function joined(transaction: Transaction, more: object = {}): Decision {
  const join = { ...of(transaction), partitions, groups: ['g'], adds: true, ...more }
  return decideJoin(transaction, join, now)
}

function ended(transaction: Transaction, commit: boolean, more: object = {}): Decision {
  return decideEnd(transaction, { ...of(transaction), commit, bumps: false, ...more }, now)
}

describe('decideInit', () => {
  const init = (known: Transaction, expected?: { producerId: number; epoch: number }) =>
    decideInit(known, { timeoutMs: 9_000, expected }, now)

  test('gives the next epoch, and the time-out that is asked for', () => {
    expect(taken(init(fresh()))).toMatchObject({ producerId: 101, epoch: 1, timeoutMs: 9_000 })
  })

  test('aborts what the producer before left open, at an epoch that no producer has', () => {
    const open = taken(joined(fresh()))
    const fenced = taken(init(open))
    expect(fenced).toMatchObject({ state: 'aborting', epoch: 1, partitions, groups: ['g'] })
    expect(init(fenced)).toEqual({ fault: 'busy' })
    expect(taken(init(endedOf(fenced, 6_000)))).toMatchObject({ epoch: 2, state: 'empty' })
  })

  test('goes on with the epoch of a producer that says who it was, and repeats its answer (KIP-360)', () => {
    const before = fresh({ epoch: 7 })
    const next = taken(init(before, of(before)))
    expect(next).toMatchObject({ epoch: 8, lastEpoch: 7 })
    expect(init(next, of(before))).toEqual({ transaction: next, changed: false })
    expect(init(next, { ...of(before), epoch: 6 })).toEqual({ fault: 'fenced' })
    expect(init(next, { producerId: 5, epoch: 8 })).toEqual({ fault: 'fenced' })
  })

  test('a producer that aborts by asking anew gets an epoch that its repeats get too', () => {
    const open = taken(joined(fresh({ epoch: 3 })))
    const fenced = endedOf(taken(init(open, of(open))), 6_000)
    expect(taken(init(fenced, of(open)))).toMatchObject({ epoch: 4 })
    expect(init(fenced, { ...of(open), epoch: 2 })).toEqual({ fault: 'fenced' })
  })

  test('gives a new producer id when the epochs are used up', () => {
    const last = fresh({ epoch: 32_766 })
    const next = taken(init(last, of(last)))
    expect(next).toMatchObject({ producerId: 102, epoch: 0, lastProducerId: 101 })
    expect(init(next, of(last))).toEqual({ transaction: next, changed: false })
  })
})

describe('decideJoin', () => {
  test('begins a transaction with a number of its own, and grows it', () => {
    const open = taken(joined(fresh({ sequence: 4 })))
    expect(open).toMatchObject({ state: 'ongoing', sequence: 5, startedAtMs: 5_000, partitions })
    expect(joined(open)).toEqual({ transaction: open, changed: false })
    const other = { ...partition, log: 'topic/1/1', partition: 1 }
    const grown = taken(joined(open, { partitions: [partition, other], groups: ['h'] }))
    expect(grown).toMatchObject({ sequence: 5, groups: ['g', 'h'] })
    expect(grown.partitions).toEqual([partition, other])
  })

  test('only looks, unless it adds: what is not in it is no part of it', () => {
    const open = taken(joined(fresh()))
    expect(joined(open, { adds: false })).toEqual({ transaction: open, changed: false })
    expect(joined(open, { adds: false, groups: ['h'] })).toEqual({ fault: 'not-in-it' })
    expect(joined(fresh(), { adds: false })).toEqual({ fault: 'not-in-it' })
    const over = endedOf(taken(ended(open, true)), 6_000)
    expect(joined(over, { adds: false })).toEqual({ fault: 'not-in-it' })
  })

  test('refuses other producers, and whoever comes while the one before is being ended', () => {
    const open = taken(joined(fresh()))
    expect(joined(open, { producerId: 9 })).toEqual({ fault: 'unknown-producer' })
    expect(joined(open, { epoch: 1 })).toEqual({ fault: 'fenced' })
    expect(joined(taken(ended(open, true)))).toEqual({ fault: 'busy' })
  })
})

describe('decideEnd', () => {
  const of1: readonly (readonly [TransactionState, boolean, string])[] = [
    ['empty', true, 'wrong-state'],
    ['empty', false, 'wrong-state'],
    ['ongoing', true, 'committing'],
    ['ongoing', false, 'aborting'],
    ['committing', true, 'busy'],
    ['committing', false, 'wrong-state'],
    ['aborting', true, 'wrong-state'],
    ['aborting', false, 'busy'],
    ['committed', true, 'unchanged'],
    ['committed', false, 'wrong-state'],
    ['aborted', true, 'wrong-state'],
    ['aborted', false, 'unchanged'],
  ]

  test.each(of1)('version 1, %s, commit %s: %s', (state, commit, wanted) => {
    const decision = ended(fresh({ state }), commit)
    if ('fault' in decision) expect(decision.fault).toBe(wanted)
    else expect(decision.changed ? decision.transaction.state : 'unchanged').toBe(wanted)
  })

  test('version 2 gives the next epoch, and answers a repeat as before', () => {
    const open = taken(joined(fresh({ epoch: 3 })))
    const ending = taken(ended(open, true, { bumps: true }))
    expect(ending).toMatchObject({ state: 'committing', epoch: 4, lastEpoch: 3, partitions })
    expect(identityOf(ending)).toEqual({ producerId: 101, epoch: 4 })
    const over = endedOf(ending, 6_000)
    const repeat = { bumps: true, ...of(open) }
    expect(ended(ending, true, repeat)).toEqual({ fault: 'busy' })
    expect(ended(over, true, repeat)).toEqual({ transaction: over, changed: false })
    expect(ended(over, false, repeat)).toEqual({ fault: 'wrong-state' })
    // It must not end the next transaction.
    const next = taken(joined(over))
    expect(ended(next, true, repeat)).toEqual({ fault: 'fenced' })
  })

  test('version 2 may abort nothing, and is given the next epoch for it', () => {
    for (const state of ['empty', 'committed', 'aborted'] as const) {
      const idle = fresh({ state, epoch: 5 })
      expect(taken(ended(idle, false, { bumps: true }))).toMatchObject({
        ...{ state: 'aborting', epoch: 6, partitions: [] },
      })
      // Before it has sent what it was given, it asks again; of nothing at all it is told so.
      expect(ended(idle, true, { bumps: true })).toEqual({ fault: 'busy' })
      const later = { ...idle, changedAtMs: now.nowMs - 1_000 }
      expect(ended(later, true, { bumps: true })).toEqual({ fault: 'wrong-state' })
    }
  })

  test('version 2 goes on with another producer id when the epochs are used up', () => {
    const open = taken(joined(fresh({ epoch: 32_766 })))
    const ending = taken(ended(open, true, { bumps: true }))
    expect(ending).toMatchObject({ producerId: 101, epoch: 32_767 })
    expect(identityOf(ending)).toEqual({ producerId: 102, epoch: 0 })
    const over = endedOf(ending, 6_000)
    expect(over).toMatchObject({ producerId: 102, epoch: 0, state: 'committed' })
    expect(ended(over, true, { bumps: true, ...of(open) })).toMatchObject({ changed: false })
  })

  test('refuses other producers', () => {
    const open = taken(joined(fresh({ epoch: 2 })))
    expect(ended(open, true, { producerId: 9 })).toEqual({ fault: 'unknown-producer' })
    expect(ended(open, true, { epoch: 1 })).toEqual({ fault: 'fenced' })
  })
})

test('abortedFor fences the producer whose transaction took too long', () => {
  const open = taken(joined(fresh({ epoch: 2 })))
  const aborted = abortedFor(open, 9_000)
  expect(aborted).toMatchObject({ state: 'aborting', epoch: 3, partitions })
  expect(ended(endedOf(aborted, 9_000), true, of(open))).toEqual({ fault: 'fenced' })
})
