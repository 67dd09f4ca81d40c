import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HEADER } from '../core/queues/headers.ts'
import type { DispatchStrategy } from '../core/queues/queue-policy.ts'
import { type Consumer, Consumers } from './consumers.ts'
import { newEntry } from './entry.ts'

const record = (address: string) => ({
  timestamp: 0,
  key: null,
  value: null,
  headers: [[HEADER.address, Buffer.from(address)] as const],
})

let offset = 0
const anEntry = () => newEntry({ level: 0, offset: offset++, group: '', bytes: 0, expiresAtMs: 0 })

function add(consumers: Consumers, id: string, credit: number): Consumer {
  const options = { id, node: 'b', nodeEpoch: 1, priority: 0, matches: undefined }
  return consumers.add({ ...options, push: () => undefined }, credit)
}

/** Gives `count` messages; the ids of who got them. */
function give(consumers: Consumers, strategy: DispatchStrategy, count: number): string[] {
  return Array.from({ length: count }, (_, at) => {
    const [peers] = consumers.peers()
    const chosen = peers?.choose(strategy, record(`a/${at % 3}`))
    if (chosen === undefined) throw new Error('nobody')
    consumers.give(chosen, anEntry())
    return chosen.id
  })
}

describe('Peers', () => {
  test('in turn, whoever has no credit is left out until it has some', () => {
    const consumers = new Consumers(() => 0)
    const [a] = ['a', 'b', 'c'].map((id) => add(consumers, id, id === 'a' ? 1 : 9))
    expect(give(consumers, 'round-robin', 6)).toEqual(['a', 'b', 'c', 'b', 'c', 'b'])
    if (a !== undefined) consumers.allow(a, 1)
    expect(give(consumers, 'round-robin', 3)).toEqual(['c', 'b', 'a'])
  })

  test('to who has least in flight, as it is given and taken', () => {
    const consumers = new Consumers(() => 0)
    for (const id of ['a', 'b', 'c']) add(consumers, id, 99)
    give(consumers, 'least-in-flight', 6)
    const b = consumers.get('b')
    const [one, two] = b?.inFlight ?? []
    for (const entry of [one, two]) if (b && entry) consumers.take(b, entry)
    expect(give(consumers, 'least-in-flight', 2)).toEqual(['b', 'b'])
    expect(give(consumers, 'least-in-flight', 3).sort()).toEqual(['a', 'b', 'c'])
  })

  test('by a hash, the same address to the same one, although others come and go of credit', () => {
    const consumers = new Consumers(() => 0)
    for (const id of ['a', 'b', 'c', 'd']) add(consumers, id, 30)
    const got = give(consumers, 'hash-address', 30)
    for (const at of [0, 1, 2]) {
      expect(new Set(got.filter((_, index) => index % 3 === at)).size).toBe(1)
    }
  })

  test('without a look at credit, each in turn', () => {
    const consumers = new Consumers(() => 0)
    for (const id of ['a', 'b']) add(consumers, id, 0)
    const any = () => consumers.peers()[0]?.chooseAny('round-robin', record('x')).id
    expect([any(), any(), any()]).toEqual(['a', 'b', 'a'])
    expect(consumers.peers()[0]?.isWilling).toBe(false)
  })

  test('a consumer that came under the same id is found, and the one before leaves without harm', () => {
    const consumers = new Consumers(() => 0)
    const before = add(consumers, 'a', 1)
    const after = add(consumers, 'a', 1)
    consumers.remove(before)
    consumers.remove(before)
    expect(consumers.get('a')).toBe(after)
    expect(consumers.size).toBe(1)
    consumers.allow(before, 5)
    expect(give(consumers, 'random', 1)).toEqual(['a'])
    expect(consumers.peers()[0]?.isWilling).toBe(false)
  })

  test('every strategy chooses one with credit, and the least loaded where that is asked', () => {
    const strategy = fc.constantFrom<DispatchStrategy>(
      'round-robin',
      'random',
      'sticky',
      'least-in-flight',
      'hash-address',
    )
    const action = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), credit: fc.nat(3) }),
      fc.record({ kind: fc.constant('remove' as const), who: fc.nat(20) }),
      fc.record({ kind: fc.constant('allow' as const), who: fc.nat(20), credit: fc.nat(2) }),
      fc.record({ kind: fc.constant('give' as const), strategy }),
      fc.record({ kind: fc.constant('take' as const), who: fc.nat(20) }),
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const consumers = new Consumers(() => 0.4)
        const all: Consumer[] = []
        for (const [at, step] of actions.entries()) {
          const who = 'who' in step ? all[step.who % Math.max(1, all.length)] : undefined
          if (step.kind === 'add') all.push(add(consumers, String(at), step.credit))
          else if (step.kind === 'remove' && who !== undefined) {
            consumers.remove(who)
            all.splice(all.indexOf(who), 1)
          } else if (step.kind === 'allow' && who !== undefined) consumers.allow(who, step.credit)
          else if (step.kind === 'take' && who !== undefined) {
            const [entry] = who.inFlight
            if (entry !== undefined) consumers.take(who, entry)
          } else if (step.kind === 'give') {
            const willing = all.filter(({ credit }) => credit > 0)
            const [peers] = consumers.peers()
            expect(peers?.isWilling ?? false).toBe(willing.length > 0)
            if (willing.length === 0) continue
            const chosen = peers?.choose(step.strategy, record(`a/${at}`)) as Consumer
            expect(willing).toContain(chosen)
            const least = Math.min(...willing.map(({ inFlight }) => inFlight.size))
            if (step.strategy === 'least-in-flight') expect(chosen.inFlight.size).toBe(least)
            consumers.give(chosen, anEntry())
          }
          for (const { load, inFlight } of all) expect(load).toBe(inFlight.size)
        }
      }),
    )
  })
})
