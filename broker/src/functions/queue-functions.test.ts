import { describe, expect, test } from 'vitest'
import { HEADER, textHeader } from '../core/queues/headers.ts'
import type { Received } from '../core/queues/queue-requests.ts'
import { QUEUE, QueueBench, valuesOf } from '../testing/queue-fixtures.ts'
import { settle } from '../testing/virtual-clock.ts'
import { deadLettersOf } from './dead-letter.ts'

const DEAD = 'default/dead'

async function benchOf(
  policy: ConstructorParameters<typeof QueueBench>[0] = {},
  dead: ConstructorParameters<typeof QueueBench>[0] = {},
): Promise<QueueBench> {
  const bench = new QueueBench({ deadLetterQueue: DEAD, ...policy })
  bench.define(DEAD, dead)
  await bench.own()
  return bench
}

const numbers = (count: number) => Array.from({ length: count }, (_, at) => String(at))

describe('retry', () => {
  test('what failed waits longer each time, and what was only given back does not', async () => {
    const bench = await benchOf({ retry: { minMs: 100, maxMs: 350, growth: 2 } })
    await bench.send(['a'])
    for (const waitMs of [100, 200, 350, 350]) {
      await bench.settle('release', await bench.receive())
      await bench.clock.advance(waitMs - 1)
      expect(await bench.receive()).toEqual([])
      await bench.own()
      await bench.clock.advance(1)
    }
    await bench.settle(
      { kind: 'release', delayMs: undefined, failed: false },
      await bench.receive(),
    )
    expect(valuesOf(await bench.receive())).toEqual(['a'])
  })
})

describe('dead letters', () => {
  test('after too many deliveries, with the story, and back again', async () => {
    const bench = await benchOf({ deliveriesMax: 2, leaseMs: 1_000 })
    await bench.send([['a', { [HEADER.address]: 'x/y' }]])
    await bench.settle('release', await bench.receive())
    await bench.receive()
    await bench.clock.advance(1_000)
    expect(await bench.receive()).toEqual([])
    const [dead] = (await bench.receive({}, DEAD)) as [Received]
    expect(valuesOf([dead])).toEqual(['a'])
    expect(deadLettersOf(dead.record)).toMatchObject([
      { queue: QUEUE, reason: 'deliveries', count: 1, deliveries: 2, address: 'x/y' },
    ])
    await bench.settle({ kind: 'extend', leaseMs: 0 }, [dead], DEAD)
    await bench.handle(
      { kind: 'redrive', redrive: { kind: 'start', to: undefined, perSecondMax: undefined } },
      DEAD,
    )
    await bench.clock.advance(3_000)
    const [back] = (await bench.receive()) as [Received]
    expect(back).toMatchObject({ deliveries: 1 })
    await bench.settle('reject', [back])
    const [again] = (await bench.receive({ waitMs: 0 }, DEAD)) as [Received]
    expect(deadLettersOf(again.record).map(({ reason, count }) => [reason, count])).toEqual([
      ['rejected', 1],
      ['deliveries', 1],
    ])
    expect(await bench.figures()).toMatchObject({ ready: 0, inFlight: 0, bytes: 0 })
  })

  test('are carried on by the next owner, once', async () => {
    const bench = await benchOf()
    await bench.send(numbers(20))
    const messages = await bench.receive({ max: 10 })
    bench.policies.delete(DEAD)
    await bench.settle('reject', messages)
    await bench.clock.advance(100)
    expect(await bench.figures()).toMatchObject({ ready: 10, inFlight: 0 })
    bench.define(DEAD)
    await bench.own()
    await bench.clock.advance(2_000)
    expect(await bench.drain(DEAD)).toEqual(numbers(10))
    expect(await bench.drain()).toEqual(numbers(20).slice(10))
  })

  test('by expiry, of the message or of the queue, wherever it is in the queue', async () => {
    const bench = await benchOf({ retentionMs: 10_000 })
    const at = (ms: number) => ({ [HEADER.expiresAt]: String(bench.clock.wallMs() + ms) })
    await bench.send(['by age', ['short', at(2_000)], ['long', at(50_000)]])
    await bench.own()
    await bench.clock.advance(3_100)
    expect(await bench.drain(DEAD)).toEqual(['short'])
    expect(await bench.figures()).toMatchObject({ ready: 2 })
    await bench.clock.advance(8_000)
    const expired = await bench.receive({ max: 5 }, DEAD)
    expect(valuesOf(expired)).toEqual(['by age', 'long'])
    expect(expired.map(({ record }) => textHeader(record, HEADER.expiresAt))).toEqual([
      undefined,
      undefined,
    ])
    expect(await bench.figures()).toMatchObject({ ready: 0, bytes: 0 })
  })

  test('what only runs in circles ends', async () => {
    const bench = await benchOf(
      { retentionMs: 1_000 },
      { retentionMs: 1_000, deadLetterQueue: QUEUE },
    )
    await bench.send(['round'])
    await bench.clock.advance(20_000)
    expect(await bench.figures()).toMatchObject({ ready: 0, bytes: 0 })
    expect(await bench.figures(DEAD)).toMatchObject({ ready: 0, bytes: 0 })
    expect(bench.errors).toEqual([])
  })
})

describe('limits', () => {
  test('drop the oldest, refuse the newest, or dead-letter it', async () => {
    const drop = await benchOf({ lengthMax: 3, overflow: 'drop-head' })
    await drop.send(numbers(5))
    await drop.clock.advance(1_100)
    expect(await drop.drain(DEAD)).toEqual(['0', '1'])
    expect(await drop.drain()).toEqual(['2', '3', '4'])

    const reject = await benchOf({ bytesMax: 100, overflow: 'reject' })
    const outcomes = await reject.send(['x'.repeat(60), 'y'.repeat(60), 'z'])
    expect(outcomes.map(({ kind }) => kind)).toEqual(['stored', 'full', 'stored'])
    await reject.drain()
    expect((await reject.send(['again'])).map(({ kind }) => kind)).toEqual(['stored'])

    const dead = await benchOf({ lengthMax: 2, overflow: 'dead-letter' })
    await dead.send(numbers(4))
    await dead.clock.advance(1_100)
    expect(await dead.drain(DEAD)).toEqual(['2', '3'])
    expect(await dead.drain()).toEqual(['0', '1'])
  })
})

describe('fairness', () => {
  test('a group with more than its share waits while others have something', async () => {
    const bench = await benchOf({ fair: true })
    const noisy = numbers(200).map((at) => [`n${at}`, { group: 'noisy' }] as const)
    await bench.send([...noisy, ['q0', { group: 'quiet' }], ['q1', { group: 'quiet' }]])
    const first = await bench.receive({ max: 40 })
    expect(valuesOf(first).slice(0, 30)).toEqual(noisy.slice(0, 30).map(([value]) => value))
    expect(valuesOf(first)).toContain('q0')
    expect(valuesOf(first)).toContain('q1')
    const rest = [...first]
    while (rest.length < 202) {
      const more = await bench.receive({ max: 10 })
      if (more.length === 0) break
      rest.push(...more)
    }
    expect(new Set(valuesOf(rest)).size).toBe(202)
  })

  test('messages without a group are not passed over, however many are out', async () => {
    const bench = await benchOf({ fair: true })
    await bench.send(numbers(100).map(String))
    const values = valuesOf(await bench.receive({ max: 40 }))
    expect(values).toEqual(numbers(40).map(String))
    // Nobody has looked at the others: a deep queue would be looked through for each receiver.
    expect((await bench.queue()).store.lanes[0]?.next).toBe(40)
  })
})

describe('transactions', () => {
  test('half messages are invisible until they are committed; nobody decides twice', async () => {
    const bench = await benchOf()
    const prepare = (transaction: string) =>
      bench.handle({ kind: 'prepare', transaction, record: bench.record(transaction) })
    const decide = async (transaction: string, commit: boolean) => {
      const reply = await bench.handle({ kind: 'decide', transaction, commit })
      return reply.kind === 'done' && reply.existed
    }
    await prepare('a')
    await prepare('b')
    await prepare('c')
    expect(await bench.drain()).toEqual([])
    await bench.own()
    expect(await decide('a', true)).toBe(true)
    expect(await decide('a', true)).toBe(false)
    expect(await decide('b', false)).toBe(true)
    expect(await bench.drain()).toEqual(['a'])
    await bench.clock.advance(61_000)
    expect(bench.checked.map(({ transaction }) => transaction)).toEqual(['c'])
    await bench.own()
    await bench.clock.advance(16 * 60_000)
    expect(bench.checked.length).toBe(15)
    expect(await decide('c', true)).toBe(false)
    expect(await bench.drain()).toEqual([])
  })
})

describe('redrive', () => {
  test('goes on at its rate with the next owner, tells its progress, and can be cancelled', async () => {
    const bench = await benchOf()
    bench.define('default/other')
    await bench.own()
    await bench.send(numbers(100), DEAD)
    const start = { kind: 'start', to: 'default/other', perSecondMax: 10 } as const
    const task = async (redrive: Parameters<typeof bench.handle>[0] & { kind: 'redrive' }) => {
      const reply = await bench.handle(redrive, DEAD)
      return reply.kind === 'redrives' ? reply.tasks[0] : undefined
    }
    const started = await task({ kind: 'redrive', redrive: start })
    expect(started).toMatchObject({ state: 'running', toMove: 100, moved: 0 })
    await expect(task({ kind: 'redrive', redrive: start })).rejects.toMatchObject({
      code: 'REFUSED',
    })
    await bench.clock.advance(3_000)
    await bench.own()
    await bench.clock.advance(2_000)
    const listed = await task({ kind: 'redrive', redrive: { kind: 'list' } })
    expect(listed?.moved).toBeGreaterThanOrEqual(20)
    expect(listed?.moved).toBeLessThanOrEqual(55)
    await task({ kind: 'redrive', redrive: { kind: 'cancel', task: started?.task ?? '' } })
    await bench.clock.advance(2_000)
    const ended = await task({ kind: 'redrive', redrive: { kind: 'list' } })
    expect(ended).toMatchObject({ state: 'cancelled' })
    const moved = await bench.drain('default/other')
    expect(moved.length).toBe(ended?.moved)
    expect([...moved, ...(await bench.drain(DEAD))].sort()).toEqual(numbers(100).sort())
  })

  test('to itself is refused, since it would have no end', async () => {
    const bench = await benchOf()
    await bench.send(['a'], DEAD)
    const start = { kind: 'start', to: DEAD, perSecondMax: undefined } as const
    await expect(bench.handle({ kind: 'redrive', redrive: start }, DEAD)).rejects.toMatchObject({
      code: 'REFUSED',
    })
    expect(await bench.drain(DEAD)).toEqual(['a'])
  })

  test('to a queue that is not there fails, and nothing is lost', async () => {
    const bench = await benchOf()
    await bench.send(['a'], DEAD)
    const start = { kind: 'start', to: 'default/none', perSecondMax: undefined } as const
    await bench.handle({ kind: 'redrive', redrive: start }, DEAD)
    await bench.clock.advance(5_000)
    const reply = await bench.handle({ kind: 'redrive', redrive: { kind: 'list' } }, DEAD)
    expect(reply.kind === 'redrives' && reply.tasks[0]?.state).toBe('failed')
    expect(await bench.drain(DEAD)).toEqual(['a'])
  })
})

describe('pushing', () => {
  async function consumer(
    bench: QueueBench,
    id: string,
    options: { credit?: number; priority?: number; matches?: (value: string) => boolean } = {},
  ) {
    const got: Received[] = []
    const { matches, priority = 0, credit = 100 } = options
    const queue = await bench.queue()
    const added = queue.receivers.addConsumer(
      {
        id,
        node: 'b1',
        nodeEpoch: 1,
        priority,
        matches: matches && ((record) => matches(valuesOf([{ record }])[0] ?? '')),
        push: (message) => got.push(message),
      },
      credit,
    )
    return { got, added, queue }
  }

  test('within the credit, in turn, and to others when a consumer goes', async () => {
    const bench = await benchOf()
    const a = await consumer(bench, 'a', { credit: 2 })
    const b = await consumer(bench, 'b', { credit: 10 })
    await bench.send(numbers(6))
    await settle()
    expect(a.got.length).toBe(2)
    expect(valuesOf([...a.got, ...b.got]).sort()).toEqual(numbers(6))
    await a.queue.removeConsumer(a.added)
    await settle()
    expect(b.got.slice(4).map(({ deliveries }) => deliveries)).toEqual([2, 2])
    expect(await bench.settle('acknowledge', b.got)).toEqual(b.got.map(() => 'done'))
    expect(await bench.figures()).toMatchObject({ ready: 0, inFlight: 0, consumers: 1 })
  })

  test('what was acknowledged to an owner that died stays acknowledged, the rest comes again', async () => {
    const bench = await benchOf()
    const { got } = await consumer(bench, 'a')
    await bench.send(numbers(10))
    await settle()
    await bench.settle('acknowledge', [got[3], got[0], got[7]] as Received[])
    await bench.own()
    // An acknowledgement that was under way counts, though this owner has not looked at the message.
    expect(await bench.settle('acknowledge', got.slice(9))).toEqual(['done'])
    await bench.own()
    expect(await bench.drain()).toEqual(['1', '2', '4', '5', '6', '8'])
  })

  test('a single active consumer is followed by the next one', async () => {
    const bench = await benchOf({ singleConsumer: true })
    const a = await consumer(bench, 'a')
    const b = await consumer(bench, 'b')
    await bench.send(numbers(3))
    await settle()
    expect([a.got.length, b.got.length]).toEqual([3, 0])
    await a.queue.removeConsumer(a.added)
    await settle()
    expect(valuesOf(b.got)).toEqual(numbers(3))
  })

  test('by priority, by selector, and by each strategy', async () => {
    const bench = await benchOf()
    const low = await consumer(bench, 'low')
    const high = await consumer(bench, 'high', { priority: 5, credit: 2 })
    const odd = await consumer(bench, 'odd', {
      priority: 9,
      matches: (value) => Number(value) % 2 === 1,
    })
    await bench.send(numbers(8))
    await settle()
    expect(valuesOf(odd.got)).toEqual(['1', '3', '5', '7'])
    expect(valuesOf(high.got)).toEqual(['0', '2'])
    expect(valuesOf(low.got)).toEqual(['4', '6'])

    for (const [dispatch, shares] of [
      ['round-robin', [5, 5]],
      ['sticky', [10, 0]],
      ['least-in-flight', [5, 5]],
      ['random', [0, 10]],
    ] as const) {
      const other = await benchOf({ dispatch })
      const [one, two] = [await consumer(other, '1'), await consumer(other, '2')]
      await other.send(numbers(10))
      await settle()
      expect([one.got.length, two.got.length], dispatch).toEqual(shares)
    }
    const hashed = await benchOf({ dispatch: 'hash-address' })
    const both = [await consumer(hashed, '1'), await consumer(hashed, '2')]
    await hashed.send(
      numbers(40).map((at) => [at, { [HEADER.address]: `t/${Number(at) % 4}` }] as const),
    )
    await settle()
    for (const address of numbers(4)) {
      const has = both.map(({ got }) =>
        valuesOf(got).some((at) => String(Number(at) % 4) === address),
      )
      expect(has.filter(Boolean).length).toBe(1)
    }
  })
})

describe('receiving by selector', () => {
  test('takes what matches and leaves the rest in order', async () => {
    const bench = await benchOf()
    await bench.send(
      numbers(9).map(
        (at) => [at, { colour: Number(at) % 3 === 0 ? 'red' : 'blue', n: at }] as const,
      ),
    )
    expect(valuesOf(await bench.receive({ max: 9, selector: "colour = 'red' AND n > 2" }))).toEqual(
      ['3', '6'],
    )
    await expect(bench.receive({ selector: 'colour = ' })).rejects.toMatchObject({
      name: 'SelectorError',
    })
    expect(await bench.drain()).toEqual(['0', '1', '2', '4', '5', '7', '8'])
  })
})

describe('space', () => {
  test('one message that stays does not keep the log of all that went', async () => {
    const bench = await benchOf({ leaseMs: 3_600_000 })
    await bench.send(['stays'])
    const stays = await bench.receive()
    for (let round = 0; round < 40; round++) {
      await bench.send(numbers(1_000))
      for (let left = 1_000; left > 0; left -= 500) {
        await bench.settle('acknowledge', await bench.receive({ max: 500 }))
      }
      await bench.clock.advance(1_000)
    }
    const { bytes } = await bench.storage.stats(1)
    expect(bytes).toBeLessThan(2_000_000)
    const [log] = await bench.storage.logs(1)
    expect(log?.startOffset).toBeGreaterThan(20_000)
    await bench.own()
    await bench.settle({ kind: 'extend', leaseMs: 0 }, stays)
    expect(await bench.drain()).toEqual(['stays'])
  })
})
