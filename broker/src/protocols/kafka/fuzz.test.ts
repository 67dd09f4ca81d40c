// Requests that no client would send, by seed: made up ones of every API and version, spoiled bytes, hostile lengths and
// batches. Whatever comes is answered or ends its connection; nothing is an error of the broker, and others are served.

import { crc32c } from '@robust/storage-adapters'
import { beforeEach, describe, expect, test } from 'vitest'
import { KafkaBench, type KafkaClient } from '../../testing/kafka-fixtures.ts'
import { invent } from '../../testing/kafka-inventor.ts'
import { batchOf, gzipped } from '../../testing/log-fixtures.ts'
import { settle } from '../../testing/virtual-clock.ts'
import { type Api, isFlexible } from './codec/api.ts'
import { FETCH, PRODUCE } from './codec/log-apis.ts'
import { encode, int16, int32, nullableString, struct } from './codec/wire-types.ts'
import { REQUEST_BYTES_MAX } from './limits.ts'
import { APIS } from './packets.ts'

/** Small, fast, and good enough here (mulberry32). */
function chanceOf(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

let bench: KafkaBench

beforeEach(async () => {
  bench = await new KafkaBench().start()
  bench.topic('orders', 2)
  bench.topic('newest', 1, { compact: true })
  // Names that are made up have up to three letters.
  for (const letter of 'abcdefghijklmnopqrstuvwxyz') bench.topic(letter, 3)
})

const head = struct({
  apiKey: int16,
  version: int16,
  correlationId: int32,
  clientId: nullableString(),
})

function requestOf(api: Api, version: number, seed: number): Buffer {
  const flexible = isFlexible(api, version)
  const header = { apiKey: api.key, version, correlationId: seed, clientId: 'fuzz' }
  return Buffer.concat([
    encode(head, header, { version: 0, flexible: false }),
    Buffer.alloc(flexible ? 1 : 0),
    encode(api.request, invent(api.request, seed, { version, flexible }), { version, flexible }),
  ])
}

function spoil(bytes: Buffer, below: (bound: number) => number): Buffer {
  // Not the API's key and version: what is not spoken ends the connection at once.
  const at = 8 + below(Math.max(1, bytes.length - 8))
  switch (below(4)) {
    case 0:
      return bytes.subarray(0, at)
    case 1:
      return Buffer.concat([bytes, Buffer.alloc(below(20), below(256))])
    case 2:
      return Buffer.concat([bytes.subarray(0, at), Buffer.alloc(4, 255), bytes.subarray(at)])
    default: {
      const spoiled = Buffer.from(bytes)
      if (at < spoiled.length) spoiled[at] = below(256)
      return spoiled
    }
  }
}

async function isServed(): Promise<void> {
  const client = await bench.connect()
  const records = Buffer.from(batchOf(['k=v']))
  const { topics } = await client.ask(PRODUCE, 9, {
    ...{ transactionalId: null, acks: -1, timeoutMs: 1_000 },
    topics: [{ name: 'orders', topicId: '', partitions: [{ index: 0, records }] }],
  })
  expect(topics[0]?.partitions).toMatchObject([{ errorCode: 0 }])
}

const CASES = 6_000

test(`${CASES} requests of every API, whole and spoiled`, { timeout: 60_000 }, async () => {
  const below = chanceOf(20_261_128)
  let answered = 0
  for (let seed = 0; seed < CASES; seed++) {
    const api = APIS[below(APIS.length)] as Api
    const [first, last] = api.versions
    const version = first + below(last - first + 1)
    const whole = requestOf(api, version, seed)
    const client = await bench.connect()
    client.raw(below(2) === 0 ? whole : spoil(whole, below))
    await settle()
    if (below(50) === 0) await bench.logs.clock.advance(1_000)
    expect(bench.refusedBy, `seed ${seed}: ${api.name} ${version}`).toEqual([])
    answered += client.answers.length
    client.stream.destroy()
  }
  // Else nothing was looked at.
  expect(answered).toBeGreaterThan(CASES / 4)
  await bench.logs.clock.advance(120_000)
  expect(bench.refusedBy).toEqual([])
  expect(bench.logs.errors).toEqual([])
  await isServed()
})

describe('frames', () => {
  test.each([-1, -0x8000_0000, REQUEST_BYTES_MAX + 1, 0x7fff_ffff])(
    'a length of %i ends the connection, before anything is kept for it',
    async (length) => {
      const client = await bench.connect()
      const bytes = Buffer.alloc(4 + 64)
      bytes.writeInt32BE(length)
      client.stream.receive(bytes)
      await settle()
      expect(client.isClosed).toBe(true)
      expect(bench.refusedBy).toEqual([])
      await isServed()
    },
  )

  test('a frame that comes byte by byte is answered as any other', async () => {
    const client = await bench.connect()
    const content = requestOf(APIS.find(({ key }) => key === 18) as Api, 2, 1)
    const length = Buffer.alloc(4)
    length.writeInt32BE(content.length)
    for (const byte of Buffer.concat([length, content])) client.stream.receive(Buffer.of(byte))
    await settle()
    expect(client.answers).toHaveLength(1)
  })
})

describe('batches', () => {
  let client: KafkaClient

  beforeEach(async () => {
    client = await bench.connect()
  })

  async function errorOf(name: string, records: Buffer): Promise<number | undefined> {
    const before = client.answers.length
    const { topics } = await client.ask(PRODUCE, 9, {
      ...{ transactionalId: null, acks: -1, timeoutMs: 1_000 },
      topics: [{ name, topicId: '', partitions: [{ index: 0, records }] }],
    })
    expect(client.answers).toHaveLength(before + 1)
    return topics[0]?.partitions[0]?.errorCode
  }

  test('spoiled anywhere they are refused, whole ones between them are kept', async () => {
    const below = chanceOf(7)
    const packed = [
      Buffer.from(batchOf(['a=1', 'b=2', 'c=3'])),
      gzipped(batchOf(['a=1', 'b=2'])),
    ] as const
    let kept = 0
    for (let round = 0; round < 1_000; round++) {
      const damaged = Buffer.from(packed[below(2)] ?? '')
      damaged[below(damaged.length)] = below(256)
      // Half of them with a checksum that is right, so that the rest is looked at.
      if (below(2) === 0) damaged.writeUInt32BE(crc32c(damaged, 0, { from: 21 }), 17)
      if ((await errorOf(below(2) === 0 ? 'orders' : 'newest', damaged)) === 0) kept++
      if (round % 50 === 0) expect(await errorOf('orders', Buffer.from(batchOf(['k=v'])))).toBe(0)
    }
    expect(kept).toBeGreaterThan(0)
    expect(bench.refusedBy).toEqual([])
    // What was kept can be read, and looked into as far as that goes.
    const asked = { index: 0, currentLeaderEpoch: -1, fetchOffset: 0, lastFetchedEpoch: -1 }
    const { topics } = await client.ask(FETCH, 12, {
      ...{ replicaId: -1, maxWaitMs: 0, minBytes: 1, maxBytes: 1_000_000, isolationLevel: 1 },
      ...{ sessionId: 0, sessionEpoch: -1, forgottenTopics: [], rackId: '' },
      topics: [
        {
          ...{ name: 'orders', topicId: '' },
          partitions: [{ ...asked, logStartOffset: 0, maxBytes: 1_000_000 }],
        },
      ],
    })
    expect(topics[0]?.partitions).toMatchObject([{ errorCode: 0 }])
  })

  test('bombs are refused where they would have to be looked into, and cost no memory', async () => {
    const zeros = gzipped(Buffer.concat([batchOf(['a=1']), Buffer.alloc(200 * 1024 * 1024)]))
    expect(zeros.length).toBeLessThan(1_000_000)
    const { rss } = process.memoryUsage()
    for (let round = 0; round < 5; round++) expect(await errorOf('newest', zeros)).not.toBe(0)
    expect(process.memoryUsage().rss - rss).toBeLessThan(150 * 1024 * 1024)
  })
})
