import { describe, expect, test } from 'vitest'
import { BROKER_ATTEMPT, type ReceiveOptions } from '../core/queues/queue-requests.ts'
import { messageTo } from '../testing/core-cluster.ts'
import { QUEUE, QueueBench, valuesOf } from '../testing/queue-fixtures.ts'
import { settle } from '../testing/virtual-clock.ts'
import { queuePrefix } from './queue-keys.ts'

const RECEIVE: { readonly kind: 'receive' } & ReceiveOptions = {
  kind: 'receive',
  max: 10,
  waitMs: 10_000,
  leaseMs: undefined,
  attempt: undefined,
  wholeGroups: false,
  selector: undefined,
}

async function owned(): Promise<QueueBench> {
  const bench = new QueueBench()
  await bench.own()
  return bench
}

describe('a queue that its owner has not heard of yet', () => {
  const call = { queue: 'late', knownAt: 7, request: { kind: 'figures' as const } }

  test('is waited for, by what is asked and by what is published', async () => {
    const bench = await owned()
    let arrive: (isKnown: boolean) => void = () => undefined
    const news = new Promise<boolean>((resolve) => {
      arrive = resolve
    })
    bench.news = (version) => (version === 7 ? news : undefined)
    const outcomes: string[] = []
    const asked = bench.shard.handle(call)
    bench.shard.append(call, messageTo('x', 'one'), (outcome) => outcomes.push(outcome))
    await settle()
    expect(outcomes).toEqual([])
    bench.define('late')
    bench.news = () => undefined
    arrive(true)
    expect(await asked).toMatchObject({ kind: 'figures' })
    await settle()
    expect(outcomes).toEqual(['committed'])
    expect(valuesOf(await bench.receive({}, 'late'))).toEqual(['one'])
  })

  test('is not taken for one that is not there when the news does not come', async () => {
    const bench = await owned()
    bench.news = () => Promise.resolve(false)
    const outcomes: string[] = []
    await expect(bench.shard.handle(call)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    bench.shard.append(call, messageTo('x', 'one'), (outcome) => outcomes.push(outcome))
    await settle()
    expect(outcomes).toEqual(['lost'])
    bench.news = () => undefined
    await expect(bench.shard.handle(call)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    bench.shard.append(call, messageTo('x', 'one'), (outcome) => outcomes.push(outcome))
    await settle()
    expect(outcomes).toEqual(['lost', 'committed'])
    expect(bench.errors).toEqual([])
  })
})

describe('a deleted queue', () => {
  test('leaves nothing, whatever was about to be stored', async () => {
    const bench = await owned()
    await bench.send(['one', 'two'])
    const [one] = await bench.receive()
    // Both in the commit that takes all away.
    const settled = bench.settle('acknowledge', one ? [one] : [])
    const received = bench.receive({ waitMs: 5_000, max: 5 })
    bench.policies.delete(QUEUE)
    bench.deleted.add(1)
    bench.shard.changed(QUEUE)
    await Promise.allSettled([settled, received])
    await bench.clock.advance(30_000)
    const range = { shard: 1, from: queuePrefix(1), to: `${queuePrefix(1)}~`, limit: 10 }
    expect(await bench.storage.scan(range)).toEqual([])
    expect(await bench.storage.logs(1)).toEqual([])
    expect(bench.forgotten).toEqual([])
    await bench.clock.advance(31_000)
    expect(bench.forgotten).toEqual([1])
  })
})

describe('receive', () => {
  test('of the same attempt takes the place of the one that waits', async () => {
    const bench = await owned()
    const attempt = `${BROKER_ATTEMPT}1`
    const first = bench.handle({ ...RECEIVE, attempt })
    const second = bench.handle({ ...RECEIVE, attempt })
    await settle()
    expect(await first).toMatchObject({ messages: [] })
    await bench.send(['x'])
    const reply = await second
    expect(reply).toMatchObject({ messages: [{ deliveries: 1 }] })
    expect(await bench.handle({ ...RECEIVE, attempt })).toEqual(reply)
  })

  test('of an attempt of a broker is another one after a while', async () => {
    const bench = await owned()
    const attempts = [`${BROKER_ATTEMPT}1`, 'client']
    await bench.send(['x', 'y', 'z'])
    const asked = { ...RECEIVE, max: 1, leaseMs: 1_000_000 }
    const values = []
    for (const waitMs of [0, 31_000, 0]) {
      await bench.clock.advance(waitMs)
      for (const attempt of attempts) {
        const reply = await bench.handle({ ...asked, attempt })
        if (reply.kind === 'received') values.push(...valuesOf(reply.messages))
      }
    }
    expect(values).toEqual(['x', 'y', 'z', 'y', 'z', 'y'])
  })

  test('of more than fits in one answer gets a part', async () => {
    const bench = await owned()
    const large = 'x'.repeat(900_000)
    await bench.send([large, large, large, large])
    expect(await bench.receive({ max: 10 })).toHaveLength(3)
    expect(await bench.receive({ max: 10 })).toHaveLength(1)
  })

  test('finds what was sent before, whoever is being served at that moment', async () => {
    const bench = await owned()
    const others = [
      bench.handle({ ...RECEIVE, waitMs: 60_000, selector: "colour = 'none'" }),
      bench.handle({ ...RECEIVE, waitMs: 60_000, selector: "colour = 'never'" }),
    ]
    for (let i = 0; i < 300; i++) {
      await bench.send([String(i)])
      // At every step of a look for the others.
      for (let step = 0; step < i % 30; step++) await Promise.resolve()
      const messages = await bench.receive()
      expect(valuesOf(messages)).toEqual([String(i)])
      await bench.settle('acknowledge', messages)
    }
    await bench.clock.advance(60_000)
    for (const other of await Promise.all(others)) expect(other).toMatchObject({ messages: [] })
  })

  test('with a selector that is none is refused', async () => {
    const bench = await owned()
    const asked = bench.handle({ ...RECEIVE, selector: '= =' })
    await expect(asked).rejects.toMatchObject({ code: 'REFUSED' })
  })
})

describe('figures', () => {
  test('tell of the oldest message, and read it once', async () => {
    const bench = await owned()
    const sentAtMs = bench.clock.wallMs()
    await bench.send(['one', 'two'])
    await bench.own()
    await bench.clock.advance(3_000)
    const read = bench.storage.read.bind(bench.storage)
    let reads = 0
    bench.storage.read = (request) => {
      reads++
      return read(request)
    }
    for (let scrape = 0; scrape < 3; scrape++) {
      expect(await bench.shard.usage(QUEUE)).toMatchObject({ ready: 2, oldestAtMs: sentAtMs })
    }
    expect(reads).toBe(1)
    await bench.drain()
    expect(await bench.shard.usage(QUEUE)).toMatchObject({ ready: 0, oldestAtMs: undefined })
  })

  test('count the bytes of the first message too, also at the next owner', async () => {
    const bench = await owned()
    await bench.send(['12345'])
    const { bytes } = await bench.figures()
    expect(bytes).toBeGreaterThanOrEqual(5)
    await bench.own()
    expect((await bench.figures()).bytes).toBe(bytes)
    await bench.send(['12345'])
    expect((await bench.figures()).bytes).toBe(2 * bytes)
    await bench.drain()
    expect((await bench.figures()).bytes).toBe(0)
  })
})

describe('peek and delayed', () => {
  test('give what fits in one answer, and the rest when asked again', async () => {
    const bench = await owned()
    const large = 'x'.repeat(900_000)
    const later = { 'deliver-at': String(bench.clock.wallMs() + 60_000) }
    for (let i = 0; i < 4; i++) await bench.send([large, [large, later]])
    const peeked = await bench.handle({ kind: 'peek', max: 10, after: undefined })
    if (peeked.kind !== 'peeked') throw new Error(peeked.kind)
    expect(peeked.messages).toHaveLength(3)
    const after = peeked.messages[2]
    const rest = await bench.handle({ kind: 'peek', max: 10, after })
    expect(rest).toMatchObject({ messages: [{ offset: 3 }] })
    const first = await bench.handle({ kind: 'delayed', max: 10, after: '' })
    if (first.kind !== 'delayed') throw new Error(first.kind)
    expect(first.messages).toHaveLength(3)
    const more = { kind: 'delayed' as const, max: 10, after: first.messages[2]?.handle ?? '' }
    expect(await bench.handle(more)).toMatchObject({ messages: [{}] })
  })
})
