import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { type Client, connect } from '../support/mqtt-clients.ts'

let cluster: TestCluster
const open: Client[] = []

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3', '--placement', '1')
})

afterAll(async () => {
  await Promise.all(open.map((client) => client.end()))
  await cluster.purge()
})

interface Partition {
  readonly partition: number
  readonly owner: string
  readonly startOffset: number
  readonly endOffset: number
  readonly bytes: number
}

async function robust(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.robust(...args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

async function partitions(topic: string): Promise<Partition[]> {
  return JSON.parse(await robust('topic', 'describe', topic, '-o', 'json')).partitions
}

async function values(topic: string, partition = 0): Promise<string[]> {
  const args = ['--partition', String(partition), '--max', '10000', '-o', 'json']
  const { records } = JSON.parse(await robust('topic', 'read', topic, ...args))
  return records.map(({ value }: { value: string }) => value)
}

async function client(node: number): Promise<Client> {
  const connected = await connect(cluster.mqttPort(node))
  open.push(connected)
  return connected
}

/** Told to the brokers when it is described by one of them. */
async function created(...args: string[]): Promise<void> {
  await robust('topic', 'create', ...args)
  const known = async () => (await cluster.robust('topic', 'describe', args[0] as string)).code
  await expect.poll(known).toBe(0)
}

describe('robust topic', () => {
  test('what is kept is read in full, however large it is', async () => {
    await created('large')
    const { mqtt } = await client(1)
    // More than a page of a broker, and than gRPC takes by itself.
    const sent = Array.from({ length: 6 }, (_, at) => `${at}`.padEnd(4_000_000, 'x'))
    for (const value of sent) await mqtt.publishAsync('large', value, { qos: 1 })
    const read = await values('large')
    expect(read.map((value) => [value.length, value[0]])).toEqual(
      sent.map((value) => [value.length, value[0]]),
    )
  })

  test('a topic keeps what is published to its address and to what it captures, from any broker', async () => {
    await created('telemetry', '--partitions', '4', '--capture', 'sensors/#')
    const publishers = [await client(1), await client(2), await client(3)]
    for (const [at, { mqtt }] of publishers.entries()) {
      await mqtt.publishAsync('sensors/a', `one ${at}`, { qos: 1 })
      await mqtt.publishAsync(`sensors/${at}`, `two ${at}`, { qos: 2 })
      await mqtt.publishAsync('telemetry', `three ${at}`, { qos: 0 })
      await mqtt.publishAsync('elsewhere', `four ${at}`, { qos: 1 })
    }
    const kept = async () =>
      (await Promise.all([0, 1, 2, 3].map((at) => values('telemetry', at)))).flat().sort()
    const expected = ['one', 'three', 'two'].flatMap((word) =>
      [0, 1, 2].map((at) => `${word} ${at}`),
    )
    await expect.poll(kept).toEqual(expected.sort())
    const sum = (await partitions('telemetry')).reduce(
      (total, { endOffset }) => total + endOffset,
      0,
    )
    expect(sum).toBe(9)
  })

  test('the death of a partition owner loses nothing that was acknowledged, and keeps its order', async () => {
    await created('ordered')
    const [{ owner } = { owner: '' }] = await partitions('ordered')
    const survivor = owner === 'broker-1' ? 2 : 1
    const { mqtt } = await client(survivor)
    const acknowledged: string[] = []
    let running = true
    const publishing = (async () => {
      for (let i = 0; running; i++) {
        await mqtt.publishAsync('ordered', String(i), { qos: 1 })
        acknowledged.push(String(i))
      }
    })()
    await expect.poll(() => acknowledged.length).toBeGreaterThan(100)
    await robust('cluster', 'kill', owner)
    const before = acknowledged.length
    await expect.poll(() => acknowledged.length).toBeGreaterThan(before + 100)
    running = false
    await publishing
    const first = new Map<string, number>()
    for (const [at, value] of (await values('ordered')).entries()) {
      if (!first.has(value)) first.set(value, at)
    }
    const places = acknowledged.map((value) => first.get(value) ?? -1)
    expect(places).toEqual([...places].sort((a, b) => a - b))
    expect(places[0]).toBe(0)
    await robust('cluster', 'restart', owner)
  })

  test('retention by size and deletion free the space, whoever owns the partition then', async () => {
    const config = ['--config', 'retention-bytes=20000', '--config', 'segment-bytes=2000']
    await created('bounded', ...config)
    const { mqtt } = await client(1)
    const value = 'x'.repeat(1_000)
    for (let i = 0; i < 200; i++) await mqtt.publishAsync('bounded', `${i}${value}`, { qos: 1 })
    const bytes = async () => (await partitions('bounded'))[0]?.bytes
    await expect.poll(bytes).toBeLessThan(25_000)
    const [{ startOffset, endOffset } = { startOffset: 0, endOffset: 0 }] =
      await partitions('bounded')
    expect(endOffset).toBe(200)
    expect(startOffset).toBeGreaterThan(170)
    expect((await values('bounded')).at(-1)).toBe(`199${value}`)
    await robust('topic', 'alter', 'bounded', '--config', 'retention-bytes=4000')
    await expect.poll(bytes).toBeLessThan(8_000)
    await robust('topic', 'delete', 'bounded')
    await created('bounded', ...config)
    expect(await values('bounded')).toEqual([])
    await mqtt.publishAsync('bounded', 'anew', { qos: 1 })
    await expect.poll(() => values('bounded')).toEqual(['anew'])
  })

  test('compaction keeps the newest message of each address, and new ones go on', async () => {
    const config = ['cleanup=compact', 'segment-ms=1000', 'dirty-percent=0']
    const flags = config.flatMap((setting) => ['--config', setting])
    await created('states', '--capture', 'state/#', ...flags)
    const { mqtt } = await client(2)
    for (let i = 0; i < 60; i++) await mqtt.publishAsync(`state/${i % 3}`, String(i), { qos: 1 })
    await expect.poll(() => values('states')).toEqual(['57', '58', '59'])
    await mqtt.publishAsync('state/1', 'newer', { qos: 1 })
    await expect.poll(() => values('states')).toEqual(['57', '59', 'newer'])
    const [{ endOffset } = { endOffset: 0 }] = await partitions('states')
    expect(endOffset).toBe(61)
  })

  test.each([
    [['create', 'telemetry'], 1, 'TOPIC_EXISTS'],
    [['create', 'a/#'], 65, 'BAD_VALUE'],
    [['create', 'x', '--config', 'retention-ms=0'], 65, 'BAD_VALUE'],
    [['create', 'x', '--config', 'nonsense=1'], 64, 'USAGE'],
    [['create', 'x', '--capture', 'a/#/b'], 65, 'BAD_VALUE'],
    [['describe', 'unknown'], 66, 'NO_SUCH_TOPIC'],
    [['delete', 'unknown'], 66, 'NO_SUCH_TOPIC'],
    [['read', 'telemetry', '--partition', '9'], 1, 'REFUSED'],
  ])('%j is refused', async (args, code, id) => {
    const ran = await cluster.robust('topic', ...args)
    expect(ran.code).toBe(code)
    expect(ran.stderr).toContain(`error[${id}]`)
  })
})
