// Queues over three brokers: made at one, used at every other, and owners that are killed or lose their shards.
import { status } from '@grpc/grpc-js'
import { openStorage } from '@robust/storage-adapters'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import { type Client, connect } from '../../support/mqtt-clients.ts'
import { QueueBroker, type QueueMessage } from '../../support/queue-clients.ts'
import { durable, type RedisServer, startRedis } from '../../support/redis-servers.ts'

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined }
const SLOW = { timeout: 60_000, interval: 200 }
const NODES = [1, 2, 3] as const

describe.each(['leveldb', 'redis'])('queues on %s', (kind) => {
  let redis: RedisServer | undefined
  let cluster: TestCluster
  let storageUrl: string
  const brokers = new Map<number, QueueBroker>()
  const open: Client[] = []

  beforeAll(async () => {
    if (kind === 'redis') redis = await startRedis({ settings: durable })
    const flags = redis ? ['--storage', `redis://127.0.0.1:${redis.port}/0`] : []
    cluster = await startCluster('--nodes', '3', '--placement', '1', ...flags)
    storageUrl = flags[1] ?? `robust://127.0.0.1:${1778 + cluster.offset}`
    for (const node of NODES) brokers.set(node, new QueueBroker(cluster, node))
  })

  afterEach(async () => {
    await Promise.all(open.splice(0).map((client) => client.end()))
  })

  afterAll(async () => {
    for (const broker of brokers.values()) broker.close()
    await cluster.purge()
    await redis?.remove()
  })

  function at(node: number): QueueBroker {
    const broker = brokers.get(node)
    if (broker === undefined) throw new Error(`no broker ${node}`)
    return broker
  }

  async function robust(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await cluster.robust(...args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    return stdout
  }

  const numberOf = (node: string) => Number(node.replace('broker-', ''))
  const ownerOf = async (name: string) => numberOf((await at(1).describe(name)).owner)

  /** Queues whose owner is the broker, or not, by their names. */
  async function queueAt(
    isWanted: (owner: number) => boolean,
    { prefix, config }: { prefix: string; config?: Record<string, unknown> },
  ): Promise<string> {
    for (let i = 0; ; i++) {
      const name = `${prefix}-${i}`
      const { queue } = await at(1).create(name, config)
      if (isWanted(numberOf(queue?.owner ?? ''))) return name
      await at(1).delete(name)
    }
  }

  async function killed<T>(node: number, meanwhile: () => Promise<T>): Promise<T> {
    await robust('cluster', 'kill', `broker-${node}`)
    try {
      return await meanwhile()
    } finally {
      await robust('cluster', 'restart', `broker-${node}`)
    }
  }

  test('what is made at one broker can be used at every other at once', async () => {
    for (let i = 0; i < 12; i++) {
      const [maker, sender, receiver] = [i, i + 1, i + 2].map((at) => NODES[at % 3] as number)
      const name = `made-${i}`
      await at(maker as number).create(name)
      expect(await at(sender as number).send(name, ['x'])).toEqual(['stored'])
      const [message] = await at(receiver as number).receive(name)
      expect(message?.text).toBe('x')
      expect(await at(maker as number).acknowledge(name, message ? [message] : [])).toEqual([
        'done',
      ])
      expect(await at(sender as number).delete(name)).toBe(true)
      const gone = at(receiver as number).send(name, ['x'])
      await expect(gone).rejects.toMatchObject({ code: status.NOT_FOUND })
    }
  })

  test('the death of the owner loses nothing, takes no receipt away, and hastens nothing', async () => {
    const config = { 'lease-ms': 60_000, order: 'group', 'deduplication-ms': 600_000 }
    const name = await queueAt((owner) => owner !== 1, { prefix: 'death', config })
    const owner = await ownerOf(name)
    const survivor = 1
    const other = NODES.find((node) => node !== owner && node !== survivor) ?? 0
    for (const group of ['a', 'b']) {
      for (const turn of [1, 2, 3]) await at(owner).send(name, [`${group}${turn}`], { group })
    }
    const dueAtMs = Date.now() + 12_000
    const later = { 'deliver-at': String(dueAtMs) }
    await at(survivor).send(name, ['later'], { ...later, 'deduplication-id': 'later' })
    const leased = await at(other).receive(name)
    expect(leased.map(({ text }) => text).sort()).toEqual(['a1', 'b1'])
    const stored: string[] = []
    let isOver = false
    const sending = (async () => {
      for (let i = 0; !isOver; i++) {
        const text = `free ${i}`
        const headers = { 'deduplication-id': text }
        // What has failed is sent again under its id.
        while (
          (await at(survivor)
            .send(name, [text], headers)
            .catch(() => undefined)) === undefined
        );
        stored.push(text)
      }
    })()
    await expect.poll(() => stored.length, SLOW).toBeGreaterThan(20)
    await killed(owner, async () => {
      const then = stored.length
      await expect.poll(() => stored.length, SLOW).toBeGreaterThan(then + 20)
      expect(await at(survivor).acknowledge(name, leased)).toEqual(['done', 'done'])
      expect(await at(other).acknowledge(name, leased)).toEqual(['gone', 'gone'])
      isOver = true
      await sending
      const all: (QueueMessage & { atMs: number })[] = []
      while (!all.some(({ text }) => text === 'later')) {
        const messages = await at(other).receive(name, { waitMs: 5_000 })
        all.push(...messages.map((message) => ({ ...message, atMs: Date.now() })))
        await at(survivor).acknowledge(name, messages)
      }
      all.push(...(await at(survivor).drain(name, 1_500)).map((each) => ({ ...each, atMs: 0 })))
      const texts = all.map(({ text }) => text)
      expect(texts.filter((text) => !text.startsWith('free')).sort()).toEqual(
        ['a2', 'a3', 'b2', 'b3', 'later'].sort(),
      )
      for (const group of ['a', 'b']) {
        expect(texts.indexOf(`${group}2`)).toBeLessThan(texts.indexOf(`${group}3`))
      }
      expect(texts.filter((text) => text.startsWith('free')).sort()).toEqual(stored.sort())
      expect(all.find(({ text }) => text === 'later')?.atMs).toBeGreaterThanOrEqual(dueAtMs)
    })
  })

  test('what is leased comes back when the lease ends, whoever owns it then', async () => {
    const name = await queueAt((owner) => owner === 2, { prefix: 'lease' })
    await at(1).send(name, ['x'])
    const untilMs = Date.now() + 8_000
    const [first] = await at(3).receive(name, { leaseMs: 8_000 })
    expect(first?.deliveries).toBe(1)
    await killed(2, async () => {
      const again = await at(3).receive(name, { waitMs: 30_000 })
      expect(again).toMatchObject([{ text: 'x', deliveries: 2 }])
      expect(Date.now()).toBeGreaterThanOrEqual(untilMs)
      expect(await at(1).acknowledge(name, first ? [first] : [])).toEqual(['stale'])
    })
  })

  test('a receive waits on at the next owner when the shard moves, or its owner dies', async () => {
    const name = await queueAt((owner) => owner === 2, { prefix: 'wait' })
    const { shard } = await at(1).describe(name)
    const waiting = at(1).receive(name, { waitMs: 50_000 })
    await robust('cluster', 'move-shard', String(shard), '--to', 'broker-3')
    await expect.poll(() => ownerOf(name), SLOW).toBe(3)
    await at(2).send(name, ['moved'])
    const moved = await waiting
    expect(moved).toMatchObject([{ text: 'moved', deliveries: 1 }])
    await at(1).acknowledge(name, moved)
    const [one, two] = [1, 2].map((node) => at(node).receive(name, { waitMs: 50_000, max: 1 }))
    await killed(3, async () => {
      await at(1).send(name, ['one', 'two'])
      const texts = [...((await one) ?? []), ...((await two) ?? [])].map(({ text }) => text)
      expect(texts.sort()).toEqual(['one', 'two'])
    })
  })

  test('a receive whose client, or whose broker, has gone takes nothing', async () => {
    const name = await queueAt((owner) => owner === 2, { prefix: 'gone' })
    const gone = new AbortController()
    const { signal } = gone
    const waiting = expect(at(1).receive(name, { waitMs: 50_000, signal })).rejects.toMatchObject({
      code: status.CANCELLED,
    })
    const other = expect(at(3).receive(name, { waitMs: 50_000 })).rejects.toMatchObject({
      code: status.UNAVAILABLE,
    })
    // Both wait when a third one has waited in vain.
    expect(await at(1).receive(name, { waitMs: 500 })).toEqual([])
    gone.abort()
    await waiting
    await killed(3, async () => {
      await other
      await at(1).send(name, ['x'])
      const received = await at(1).receive(name, { waitMs: 5_000 })
      expect(received).toMatchObject([{ text: 'x', deliveries: 1 }])
    })
  })

  test('a queue that is deleted takes its messages with it, and one made anew has none', async () => {
    const name = await queueAt(() => true, {
      prefix: 'anew',
      config: { 'deduplication-ms': 60_000 },
    })
    const { shard } = await at(1).describe(name)
    const storage = await openStorage(storageUrl, { logger: silent })
    const kept = async () => {
      const range = { shard, from: 'queue/', to: 'queue0', limit: 1_000 }
      const keys = (await storage.scan(range)).map(({ key }) => key)
      const logs = (await storage.logs(shard)).map(({ log }) => log)
      return [...keys, ...logs.filter((log) => log.startsWith('queue/'))]
    }
    try {
      const before = (await kept()).length
      await at(1).send(name, ['old', 'older'], { 'deduplication-id': 'x' })
      await at(1).send(name, ['older'])
      await at(2).send(name, ['later'], { 'deliver-at': String(Date.now() + 60_000) })
      const [old] = await at(2).receive(name, { max: 1 })
      expect((await kept()).length).toBeGreaterThan(before + 3)
      const waiting = at(3)
        .receive('anew-other')
        .catch((error: unknown) => error)
      expect(await waiting).toMatchObject({ code: status.NOT_FOUND })
      expect(await at(3).delete(name)).toBe(true)
      await at(2).create(name)
      expect(await at(1).receive(name, { waitMs: 500 })).toEqual([])
      expect(await at(1).acknowledge(name, old ? [old] : [])).toEqual(['gone'])
      expect(await at(3).send(name, ['new'], { 'deduplication-id': 'x' })).toEqual(['stored'])
      expect(await at(1).drain(name, 500)).toMatchObject([{ text: 'new' }])
      expect(await at(1).delete(name)).toBe(true)
      await expect.poll(async () => (await kept()).length, SLOW).toBeLessThanOrEqual(before)
    } finally {
      await storage.stop()
    }
  })

  test('MQTT fills a queue that is bound to its topics, from any broker, until it is full', async () => {
    const config = { 'length-max': 4 }
    await at(1).create('bound', config, ['plant/+/state'])
    const properties = {
      contentType: 'application/json',
      responseTopic: 'answers',
      correlationData: Buffer.from('c-1'),
      userProperties: { colour: 'red', group: 'g' },
    }
    for (const node of NODES) {
      const client = await connect(cluster.mqttPort(node))
      open.push(client)
      await client.mqtt.publishAsync(`plant/${node}/state`, `on ${node}`, { qos: 1, properties })
      await client.mqtt.publishAsync(`plant/${node}`, 'no', { qos: 1 })
    }
    const old = await connect(cluster.mqttPort(1), { protocolVersion: 4 })
    open.push(old)
    await old.mqtt.publishAsync('plant/4/state', 'on 4', { qos: 2 })
    const refused = open[1]?.mqtt.publishAsync('plant/5/state', 'on 5', { qos: 1 })
    await expect(refused).rejects.toMatchObject({ code: 0x97 })
    // It cannot be told no: it waits for room.
    const waits = old.mqtt.publishAsync('plant/6/state', 'on 6', { qos: 1 })
    const messages = await at(2).receive('bound', { max: 3 })
    expect(messages.map(({ text }) => text).sort()).toEqual(['on 1', 'on 2', 'on 3'])
    for (const { text, headers } of messages) {
      expect(headers).toMatchObject({
        address: text.replace('on ', 'plant/').concat('/state'),
        'content-type': 'application/json',
        'reply-to': 'answers',
        'correlation-id': 'c-1',
        colour: 'red',
        group: 'g',
      })
    }
    await at(3).acknowledge('bound', messages)
    await waits
    const rest = await at(1).drain('bound', 1_000)
    expect(rest.map(({ text }) => text).sort()).toEqual(['on 4', 'on 6'])
  })

  test('a dead letter goes to the queue of another owner once, although its own is killed', async () => {
    const dead = await queueAt((owner) => owner !== 2, { prefix: 'dead' })
    const config = { 'dead-letter-queue': dead, 'deliveries-max': 1, 'lease-ms': 1_000 }
    const name = await queueAt((owner) => owner === 2, { prefix: 'source', config })
    const texts = Array.from({ length: 200 }, (_, at) => `letter ${at}`)
    await at(1).send(name, texts)
    expect(await at(3).receive(name, { max: 200 })).toHaveLength(200)
    const ready = async () => (await at(1).describe(dead)).counts?.ready ?? 0
    await expect.poll(ready, { timeout: 60_000, interval: 5 }).toBeGreaterThan(0)
    await killed(2, async () => {
      await expect.poll(ready, SLOW).toBe(200)
      await expect.poll(async () => (await at(1).describe(name)).counts?.inFlight, SLOW).toBe(0)
      const letters = await at(3).drain(dead, 2_000)
      expect(letters.map(({ text }) => text).sort()).toEqual([...texts].sort())
      expect(letters[0]?.headers['dead-letters']).toContain(name)
    })
    await robust('queue', 'move', name, dead)
  })
})
