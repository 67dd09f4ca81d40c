import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { type Client, connect } from '../support/mqtt-clients.ts'
import { durable, type RedisServer, startRedis } from '../support/redis-servers.ts'

const QUOTA_EXCEEDED = 0x97
const PUBLISHERS = 4
const VALUE_BYTES = 48 * 1024

let redis: RedisServer
let cluster: TestCluster

beforeAll(async () => {
  redis = await startRedis({ settings: [...durable, '--maxmemory', '32mb'] })
  const storage = ['--storage', `redis://${redis.address}`]
  cluster = await startCluster('--nodes', '1', '--placement', '1', ...storage)
  const made = await cluster.robust('topic', 'create', 'kept', '--capture', 'kept/#')
  expect(made).toMatchObject({ code: 0 })
})

afterAll(async () => {
  await cluster?.purge()
  await redis?.remove()
})

interface Load {
  readonly client: Client
  readonly accepted: { text: string; ms: number }[]
}

/** Publishes one after the other until it is refused; the reason code of the refusal. */
async function fill(name: string, load: Load): Promise<number> {
  for (let number = 0; ; number++) {
    const text = `${name}-${number}-`
    const from = performance.now()
    try {
      await load.client.mqtt.publishAsync('kept/a', text.padEnd(VALUE_BYTES, '.'), { qos: 1 })
    } catch (error) {
      return (error as { code: number }).code
    }
    load.accepted.push({ text, ms: performance.now() - from })
  }
}

/** Errors and warnings of the broker about storage, by id, in order. */
async function told(): Promise<string[]> {
  const { stdout } = await cluster.robust('cluster', 'logs', 'broker-1', '--lines', '10000')
  return [...stdout.matchAll(/(STORAGE_[A-Z]+)/g)].map(([, id]) => id as string)
}

async function keptTexts(): Promise<string[]> {
  const texts: string[] = []
  for (let from = 0; ; from += 50) {
    const page = ['--from', String(from), '--max', '50', '-o', 'json']
    const { code, stdout, stderr } = await cluster.robust('topic', 'read', 'kept', ...page)
    expect(code, stderr).toBe(0)
    const { records } = JSON.parse(stdout) as { records: { value: string }[] }
    texts.push(...records.map(({ value }) => value.replace(/\.*$/, '')))
    if (records.length < 50) return texts
  }
}

describe('Redis that runs short of memory', () => {
  test('slows publishers, then refuses them with 0x97 on connections that live, and takes them again by itself', async () => {
    const loads: Load[] = []
    for (let at = 0; at < PUBLISHERS; at++) {
      loads.push({ client: await connect(cluster.mqttPort(1)), accepted: [] })
    }
    const live = await connect(cluster.mqttPort(1))
    await live.mqtt.subscribeAsync('live/#')
    const codes = await Promise.all(loads.map((load, at) => fill(`p${at}`, load)))
    expect(codes).toEqual(loads.map(() => QUOTA_EXCEEDED))
    expect(await told()).toEqual(['STORAGE_PRESSURE', 'STORAGE_FULL'])

    for (const { accepted } of loads) {
      const early = accepted.slice(0, 40).map(({ ms }) => ms)
      const last = accepted.slice(-3).map(({ ms }) => ms)
      expect(Math.max(...last)).toBeGreaterThan(400)
      expect(early.sort((a, b) => a - b)[20]).toBeLessThan(300)
    }

    // Nothing that is not kept is touched.
    await live.mqtt.publishAsync('live/1', 'now', { qos: 0 })
    await expect.poll(() => live.texts()).toEqual(['now'])
    expect(loads.every(({ client }) => client.mqtt.connected)).toBe(true)
    const status = await cluster.robust('cluster', 'status', '-o', 'json')
    expect(JSON.parse(status.stdout)).toMatchObject({ health: 'degraded' })

    // A client that cannot be told waits.
    const old = await connect(cluster.mqttPort(1), { protocolVersion: 4 })
    const waits = { done: false }
    const waited = old.mqtt.publishAsync('kept/a', 'old', { qos: 1 }).then(() => {
      waits.done = true
    })
    await expect(
      loads[0]?.client.mqtt.publishAsync('kept/a', 'refused', { qos: 1 }),
    ).rejects.toMatchObject({ code: QUOTA_EXCEEDED })
    expect(waits.done).toBe(false)

    await redis.command('CONFIG', 'SET', 'maxmemory', '256mb')
    await waited
    const [first] = loads
    await expect
      .poll(() =>
        first?.client.mqtt.publishAsync('kept/a', 'again', { qos: 1 }).then(
          () => 'ok',
          () => 'no',
        ),
      )
      .toBe('ok')
    const kept = new Set(await keptTexts())
    const acknowledged = loads.flatMap(({ accepted }) => accepted.map(({ text }) => text))
    expect(acknowledged.length).toBeGreaterThan(200)
    expect([...acknowledged, 'old', 'again'].filter((text) => !kept.has(text))).toEqual([])
    expect(await told()).toEqual(['STORAGE_PRESSURE', 'STORAGE_FULL'])
    for (const { client } of [...loads, { client: live }, { client: old }]) await client.end()
  })
})
