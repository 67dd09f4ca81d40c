import { createMemoryStorage } from '@robust/storage-adapters'
import { describe, expect, test } from 'vitest'
import type { Received } from '../core/queues/queue-requests.ts'
import { decodeReceipt, encodeReceipt } from '../core/queues/receipt.ts'
import { QueueBench, valuesOf } from '../testing/queue-fixtures.ts'
import { settle } from '../testing/virtual-clock.ts'

async function benchOf(...args: ConstructorParameters<typeof QueueBench>): Promise<QueueBench> {
  const bench = new QueueBench(...args)
  await bench.own()
  return bench
}

const numbers = (count: number) => Array.from({ length: count }, (_, at) => String(at))

describe('a queue', () => {
  test('gives each message to one receiver, in order, and forgets what is acknowledged', async () => {
    const bench = await benchOf()
    await bench.send(numbers(25))
    const first = await bench.receive({ max: 10 })
    const second = await bench.receive({ max: 10 })
    expect(valuesOf(first)).toEqual(numbers(10))
    expect(valuesOf(second)).toEqual(numbers(20).slice(10))
    expect(await bench.figures()).toMatchObject({ ready: 5, inFlight: 20 })
    expect(await bench.settle('acknowledge', [...second, ...first])).toEqual(
      Array.from({ length: 20 }, () => 'done'),
    )
    expect(await bench.settle('acknowledge', first.slice(0, 1))).toEqual(['gone'])
    await bench.own()
    expect(await bench.drain()).toEqual(numbers(25).slice(20))
    expect(await bench.figures()).toMatchObject({ ready: 0, inFlight: 0, bytes: 0 })
    expect(bench.errors).toEqual([])
  })

  test('gives out again what was not acknowledged in time, and not before, whoever owns it', async () => {
    const bench = await benchOf({ leaseMs: 1_000 })
    await bench.send(['a', 'b'])
    const [a] = await bench.receive()
    await bench.clock.advance(500)
    await bench.own()
    expect(valuesOf(await bench.receive({ max: 5 }))).toEqual(['b'])
    await bench.clock.advance(499)
    expect(await bench.receive()).toEqual([])
    await bench.clock.advance(1)
    const [again] = await bench.receive()
    expect(again).toMatchObject({ deliveries: 2 })
    expect(again?.firstDeliveredAtMs).toBe(a?.firstDeliveredAtMs)
    // The first receiver comes too late.
    expect(await bench.settle('acknowledge', a ? [a] : [])).toEqual(['stale'])
    expect(await bench.settle('acknowledge', again ? [again] : [])).toEqual(['done'])
  })

  test.each([0, 1, 300])('a lease of %i ms ends then', async (leaseMs) => {
    const bench = await benchOf({ leaseMs, deliveriesMax: 2, deadLetterQueue: 'default/dead' })
    bench.define('default/dead')
    await bench.send(['a'])
    expect(valuesOf(await bench.receive())).toEqual(['a'])
    if (leaseMs > 0) {
      await bench.clock.advance(leaseMs - 1)
      expect(await bench.receive()).toEqual([])
    }
    await bench.clock.advance(leaseMs === 0 ? 0 : 1)
    expect(await bench.receive()).toMatchObject([{ deliveries: 2 }])
    await bench.clock.advance(leaseMs)
    expect(await bench.receive()).toEqual([])
    expect(await bench.drain('default/dead')).toEqual(['a'])
  })

  test('takes the receipt of an owner that is gone, as text', async () => {
    const bench = await benchOf()
    await bench.send(['a'])
    const [a] = (await bench.receive()) as [Received]
    const receipt = decodeReceipt(encodeReceipt(a.receipt))
    await bench.own()
    expect(receipt).toEqual(a.receipt)
    expect(await bench.settle('acknowledge', receipt ? [{ receipt }] : [])).toEqual(['done'])
    await bench.clock.advance(60_000)
    expect(await bench.receive()).toEqual([])
    for (const bad of ['', 'x', '!!', 'e30', encodeReceipt({ ...a.receipt, offset: -1 })]) {
      expect(decodeReceipt(bad)).toBeUndefined()
    }
    const other = { receipt: { ...a.receipt, queueId: 99 } }
    expect(await bench.settle('acknowledge', [other])).toEqual(['gone'])
  })

  test('leases are extended, given back at once or later, and end', async () => {
    const bench = await benchOf({ leaseMs: 1_000 })
    await bench.send(['a'])
    const one = await bench.receive()
    await bench.clock.advance(900)
    expect(await bench.settle({ kind: 'extend', leaseMs: 5_000 }, one)).toEqual(['done'])
    await bench.clock.advance(4_999)
    expect(await bench.receive()).toEqual([])
    await bench.own()
    expect(await bench.receive()).toEqual([])
    await bench.clock.advance(1)
    const two = await bench.receive()
    expect(two[0]).toMatchObject({ deliveries: 2 })
    await bench.settle({ kind: 'release', delayMs: 300, failed: false }, two)
    expect(await bench.figures()).toMatchObject({ ready: 0, delayed: 1, inFlight: 0 })
    await bench.own()
    await bench.clock.advance(299)
    expect(await bench.receive()).toEqual([])
    await bench.clock.advance(1)
    const three = await bench.receive()
    expect(three[0]).toMatchObject({ deliveries: 2 })
    expect(await bench.settle({ kind: 'extend', leaseMs: 0 }, three)).toEqual(['done'])
    expect(await bench.settle({ kind: 'extend', leaseMs: 10 }, three)).toEqual(['not-leased'])
    expect(valuesOf(await bench.receive())).toEqual(['a'])
  })

  test('a receiver that waits gets the next message at once, or nothing in the end', async () => {
    const bench = await benchOf()
    const first = bench.receive({ waitMs: 10_000, max: 2 })
    const second = bench.receive({ waitMs: 1_000 })
    await bench.clock.advance(500)
    await bench.send(['a'])
    expect(valuesOf(await first)).toEqual(['a'])
    await bench.clock.advance(500)
    expect(await second).toEqual([])
    const third = bench.receive({ waitMs: 10_000 })
    await settle()
    const moved = expect(third).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await bench.own()
    await moved
  })

  test('messages wait for their time, to the millisecond, over changes of the owner', async () => {
    const bench = await benchOf()
    const now = bench.clock.wallMs()
    await bench.send([
      ['later', { 'deliver-at': String(now + 60_000) }],
      ['soon', { 'deliver-at': String(now + 10) }],
      'now',
    ])
    expect(await bench.drain()).toEqual(['now'])
    await bench.own()
    await bench.clock.advance(9)
    expect(await bench.drain()).toEqual([])
    await bench.clock.advance(1)
    expect(await bench.drain()).toEqual(['soon'])
    await bench.own()
    expect(await bench.figures()).toMatchObject({ delayed: 1, ready: 0 })
    await bench.clock.advance(59_990)
    expect(await bench.drain()).toEqual(['later'])
    expect(await bench.figures()).toMatchObject({ delayed: 0, ready: 0 })
  })

  test('what falls due is leased in the commit that moves it, and pushed when that is stored', async () => {
    const storage = createMemoryStorage()
    const bench = await benchOf({}, storage)
    const dueAt = (ms: number) => ({ 'deliver-at': String(bench.clock.wallMs() + ms) })
    await bench.send([['to receive', dueAt(100)]])
    await bench.send([['to push', dueAt(200)]])
    const commit = storage.commit.bind(storage)
    let commits = 0
    let release: (() => void) | undefined
    storage.commit = async (request) => {
      commits++
      await new Promise<void>((resolve) => {
        release = resolve
      })
      return commit(request)
    }
    let received: readonly Received[] | undefined
    void bench.receive({ waitMs: 5_000 }).then((messages) => {
      received = messages
    })
    const another = bench.send([['later', dueAt(10_000)]])
    await bench.clock.advance(100)
    release?.()
    await another
    await settle()
    expect(received).toBeUndefined()
    release?.()
    await settle()
    expect(valuesOf(received ?? [])).toEqual(['to receive'])
    expect(commits).toBe(2)

    const pushed: Received[] = []
    const queue = await bench.queue()
    const consumer = { id: 'c', node: 'b1', nodeEpoch: 1, priority: 0, matches: undefined }
    queue.receivers.addConsumer({ ...consumer, push: (message) => pushed.push(message) }, 5)
    await bench.clock.advance(100)
    expect(pushed).toEqual([])
    release?.()
    await settle()
    expect(valuesOf(pushed)).toEqual(['to push'])
    expect(bench.errors).toEqual([])
  })

  test('delayed messages are listed and cancelled', async () => {
    const bench = await benchOf({ delayMs: 1_000 })
    const outcomes = await bench.send(['a', 'b', 'c'])
    const handles = outcomes.map((outcome) => (outcome.kind === 'stored' ? outcome.handle : ''))
    await bench.own()
    const listed = await bench.handle({ kind: 'delayed', max: 2, after: '' })
    expect(listed.kind === 'delayed' && valuesOf(listed.messages)).toEqual(['a', 'b'])
    const cancel = (handle = '') => bench.handle({ kind: 'cancel', handle })
    expect(await cancel(handles[1])).toEqual({ kind: 'done', existed: true })
    expect(await cancel(handles[1])).toEqual({ kind: 'done', existed: false })
    expect(await cancel('x')).toEqual({ kind: 'done', existed: false })
    await bench.own()
    await bench.clock.advance(1_000)
    expect(await bench.drain()).toEqual(['a', 'c'])
    expect(await cancel(handles[0])).toEqual({ kind: 'done', existed: false })
  })

  test('many more delayed messages than fit in memory come each once, in order', async () => {
    const bench = await benchOf()
    const now = bench.clock.wallMs()
    const due = numbers(20_000).map((at) => now + 1_000 + ((Number(at) * 7_919) % 20_000))
    for (let at = 0; at < due.length; at += 1_000) {
      const page = due.slice(at, at + 1_000)
      await bench.send(page.map((ms) => [String(ms), { 'deliver-at': String(ms) }] as const))
    }
    expect((await bench.queue()).store.delay.inMemory).toBeLessThan(5_000)
    const received: number[] = []
    for (let step = 0; step < 21; step++) {
      if (step === 7) await bench.own()
      await bench.clock.advance(1_000)
      for (const value of await bench.drain()) {
        expect(Number(value)).toBeLessThanOrEqual(bench.clock.wallMs())
        expect(Number(value)).toBeGreaterThan(bench.clock.wallMs() - 1_000)
        received.push(Number(value))
      }
    }
    expect(received).toEqual(due.sort((a, b) => a - b))
  }, 60_000)

  test('of a group one message at a time is out; other groups go on; order stays', async () => {
    const bench = await benchOf({ order: 'group', leaseMs: 1_000 })
    const of = (group: string, value: string) => [value, { group }] as const
    await bench.send([of('g', 'g1'), of('g', 'g2'), of('h', 'h1'), of('g', 'g3'), of('h', 'h2')])
    const first = await bench.receive({ max: 10 })
    expect(valuesOf(first)).toEqual(['g1', 'h1'])
    expect(await bench.receive()).toEqual([])
    await bench.own()
    expect(await bench.receive()).toEqual([])
    await bench.settle('acknowledge', first.slice(1))
    expect(valuesOf(await bench.receive({ max: 10 }))).toEqual(['h2'])
    // The first of the group comes again before the others.
    await bench.clock.advance(1_000)
    const again = await bench.receive({ max: 10 })
    expect(valuesOf(again)).toEqual(['g1', 'h2'])
    await bench.settle('acknowledge', again)
    expect(await bench.drain()).toEqual(['g2', 'g3'])
  })

  test('a receiver may have a group as a whole, and nobody else has of it meanwhile', async () => {
    const bench = await benchOf({ order: 'group' })
    await bench.send(numbers(6).map((value) => [value, { group: 'g' }] as const))
    const three = await bench.receive({ max: 3, wholeGroups: true })
    expect(valuesOf(three)).toEqual(['0', '1', '2'])
    expect(await bench.receive({ max: 3, wholeGroups: true })).toEqual([])
    await bench.settle('release', three.slice(1, 2))
    expect(await bench.receive({ max: 3, wholeGroups: true })).toEqual([])
    await bench.settle('acknowledge', [three[0], three[2]] as Received[])
    expect(valuesOf(await bench.receive({ max: 9, wholeGroups: true }))).toEqual([
      '1',
      '3',
      '4',
      '5',
    ])
  })

  test('the same attempt gets the same messages while they are leased', async () => {
    const bench = await benchOf({ leaseMs: 1_000 })
    await bench.send(['a', 'b', 'c'])
    const first = await bench.receive({ max: 2, attempt: 'x' })
    expect(await bench.receive({ max: 2, attempt: 'x' })).toEqual(first)
    expect(valuesOf(await bench.receive({ max: 2, attempt: 'y' }))).toEqual(['c'])
    await bench.settle('acknowledge', first.slice(0, 1))
    expect(await bench.receive({ max: 2, attempt: 'x' })).toEqual([])
  })

  test('a message that is sent again is stored once, by id or by content, for a time', async () => {
    const bench = await benchOf({ deduplicationMs: 1_000, deduplicationBy: 'content' })
    const byId = ['a', { 'deduplication-id': 'x' }] as const
    const [first] = await bench.send([byId])
    await bench.own()
    const [again] = await bench.send([['other', { 'deduplication-id': 'x' }]])
    expect(again).toMatchObject({ kind: 'duplicate' })
    expect(first?.kind === 'stored' && again?.kind === 'duplicate' && again.messageId).toBe(
      first?.kind === 'stored' ? first.messageId : '',
    )
    expect((await bench.send(['same', 'same'])).map(({ kind }) => kind)).toEqual([
      'stored',
      'duplicate',
    ])
    await bench.clock.advance(1_000)
    await bench.own()
    expect((await bench.send([byId])).map(({ kind }) => kind)).toEqual(['stored'])
    expect(await bench.drain()).toEqual(['a', 'same', 'a'])
    await bench.clock.advance(3_000)
    expect((await bench.queue()).store.deduplication.size).toBe(0)
  })

  test('higher priorities go first, and what came back goes before what is new of its level', async () => {
    const bench = await benchOf({ priorities: 10, priorityDefault: 4 })
    await bench.send([
      ['low', { priority: '0' }],
      'default',
      ['high', { priority: '9' }],
      ['beyond', { priority: '200' }],
      ['low again', { priority: '-3' }],
    ])
    const [high] = await bench.receive()
    expect(valuesOf(high ? [high] : [])).toEqual(['high'])
    await bench.settle('release', high ? [high] : [])
    await bench.own()
    expect(await bench.drain()).toEqual(['high', 'beyond', 'default', 'low', 'low again'])
  })
})
