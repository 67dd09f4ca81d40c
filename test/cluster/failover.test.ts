import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { type Client, connect, mosquittoPub, mosquittoSub } from '../support/mqtt-clients.ts'

let cluster: TestCluster
let port: (node: number) => number
const open: Client[] = []

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3')
  port = (node) => cluster.mqttPort(node)
})

afterAll(async () => {
  await Promise.all(open.map((client) => client.end()))
  await cluster.purge()
})

async function client(...args: Parameters<typeof connect>): Promise<Client> {
  const connected = await connect(...args)
  open.push(connected)
  return connected
}

const DURABLE = { clean: false, properties: { sessionExpiryInterval: 3600 } }

/** Publishes numbers one after the other until stopped; tells which were acknowledged. */
function stream(publisher: Client, topic: string) {
  const acknowledged: string[] = []
  let running = true
  const done = (async () => {
    for (let i = 0; running; i++) {
      const text = `${topic}-${i}`
      await publisher.mqtt.publishAsync(topic, text, { qos: 1 })
      acknowledged.push(text)
    }
  })()
  return {
    acknowledged,
    stop: async () => {
      running = false
      await done
    },
  }
}

describe('a cluster that loses parts of itself', () => {
  test('the death of a broker moves its shards; sessions keep every acknowledged message', async () => {
    const names = Array.from({ length: 8 }, (_, i) => `sleeper-${i}`)
    for (const clientId of names) {
      const sleeper = await connect(port(2), { clientId, ...DURABLE })
      await sleeper.mqtt.subscribeAsync('death', { qos: 1 })
      await sleeper.end()
    }
    const publisher = await client(port(1))
    const publishing = stream(publisher, 'death')
    await expect.poll(() => publishing.acknowledged.length).toBeGreaterThan(50)
    expect((await cluster.robust('cluster', 'kill', 'broker-2')).code).toBe(0)
    const removed = async () => {
      const events = await cluster.events()
      return events.some(({ kind, subject }) => kind === 'NodeRemoved' && subject === 'broker-2')
    }
    await expect.poll(removed).toBe(true)
    const before = publishing.acknowledged.length
    await expect.poll(() => publishing.acknowledged.length).toBeGreaterThan(before + 50)
    await publishing.stop()
    for (const clientId of names) {
      const awake = await client(port(3), { clientId, ...DURABLE })
      expect(awake.connack.sessionPresent).toBe(true)
      await expect.poll(() => [...new Set(awake.texts())]).toEqual(publishing.acknowledged)
    }
    const status = await cluster.robust('cluster', 'status')
    expect(status.code).toBe(1)
    expect((await cluster.robust('cluster', 'restart', 'broker-2')).code).toBe(0)
    await expect.poll(async () => (await cluster.robust('cluster', 'status')).code).toBe(0)
  })

  test('publishing between connected clients goes on without a Placement Center leader', async () => {
    const live = await client(port(1))
    await live.mqtt.subscribeAsync('live/#', { qos: 1 })
    const publisher = await client(port(3))
    const publishing = stream(publisher, 'live/x')
    await expect.poll(() => publishing.acknowledged.length).toBeGreaterThan(20)
    const { leader } = (await cluster.status()).placement
    await cluster.robust('cluster', 'kill', 'leader')
    const before = publishing.acknowledged.length
    const successor = async () => {
      const now = (await cluster.status()).placement.leader
      return now !== null && now !== '' && now !== leader
    }
    // More is acknowledged before another one leads.
    await expect.poll(() => publishing.acknowledged.length).toBeGreaterThan(before + 20)
    await expect.poll(successor).toBe(true)
    await publishing.stop()
    await expect.poll(live.texts).toEqual(publishing.acknowledged)
    expect((await cluster.robust('cluster', 'restart', String(leader))).code).toBe(0)
  })

  test('a storage node that is killed under load loses nothing that was acknowledged', async () => {
    const clientId = 'storage-sleeper'
    const sleeper = await connect(port(1), { clientId, ...DURABLE })
    await sleeper.mqtt.subscribeAsync('store', { qos: 1 })
    await sleeper.end()
    const publishing = stream(await client(port(2)), 'store')
    await expect.poll(() => publishing.acknowledged.length).toBeGreaterThan(50)
    await cluster.robust('cluster', 'kill', 'storage-1')
    const held = publishing.acknowledged.length
    expect((await cluster.robust('cluster', 'status')).code).toBe(2)
    expect(publishing.acknowledged.length - held).toBeLessThan(5)
    expect((await cluster.robust('cluster', 'restart', 'storage-1')).code).toBe(0)
    await expect.poll(() => publishing.acknowledged.length).toBeGreaterThan(held + 50)
    await publishing.stop()
    const awake = await client(port(3), { clientId, ...DURABLE })
    await expect.poll(() => new Set(awake.texts()).size).toBe(publishing.acknowledged.length)
    expect([...new Set(awake.texts())]).toEqual(publishing.acknowledged)
  })

  test('failure case 1: an owner that was paused and replaced cannot write any more', async () => {
    const names = Array.from({ length: 6 }, (_, i) => `paused-${i}`)
    for (const clientId of names) {
      const sleeper = await connect(port(1), { clientId, ...DURABLE })
      await sleeper.mqtt.subscribeAsync('paused', { qos: 1 })
      await sleeper.end()
    }
    const publishing = stream(await client(port(1)), 'paused')
    await expect.poll(() => publishing.acknowledged.length).toBeGreaterThan(20)
    await cluster.robust('cluster', 'pause', 'broker-3')
    const pausedMs = performance.now()
    const removed = async () => {
      const events = await cluster.events()
      return events.some(({ kind, subject }) => kind === 'NodeRemoved' && subject === 'broker-3')
    }
    await expect.poll(removed).toBe(true)
    const before = publishing.acknowledged.length
    const leasesMs = 3 * 3_000
    await expect
      .poll(() => performance.now() - pausedMs, { timeout: 2 * leasesMs })
      .toBeGreaterThan(leasesMs)
    await expect.poll(() => publishing.acknowledged.length).toBeGreaterThan(before + 20)
    await cluster.robust('cluster', 'resume', 'broker-3')
    await expect.poll(async () => (await cluster.robust('cluster', 'status')).code).toBe(0)
    await publishing.stop()
    for (const clientId of names) {
      const awake = await client(port(3), { clientId, ...DURABLE })
      await expect.poll(() => [...new Set(awake.texts())]).toEqual(publishing.acknowledged)
    }
  })

  test('a broker that was paused and removed acknowledges nothing by what it knew', async () => {
    const publisher = await client(port(3), { clientId: 'stale-publisher' })
    await cluster.robust('cluster', 'pause', 'broker-3')
    const member = async () =>
      (await cluster.status()).nodes.find(({ name }) => name === 'broker-3')?.shards?.owned !== 0
    await expect.poll(member).toBe(false)
    const names = Array.from({ length: 10 }, (_, i) => `late-${i}`)
    const sleepers = await Promise.all(
      names.map((clientId) => client(port(1), { clientId, ...DURABLE })),
    )
    for (const { mqtt } of sleepers) await mqtt.subscribeAsync('stale', { qos: 1 })
    let acknowledged = 0
    for (let i = 0; i < 20; i++) {
      publisher.mqtt.publishAsync('stale', `stale-${i}`, { qos: 1 }).then(
        () => acknowledged++,
        () => undefined,
      )
    }
    await cluster.robust('cluster', 'resume', 'broker-3')
    await expect.poll(async () => (await cluster.robust('cluster', 'status')).code).toBe(0)
    await expect.poll(() => publisher.mqtt.connected).toBe(false)
    for (const { texts } of sleepers) {
      await expect.poll(() => new Set(texts()).size).toBeGreaterThanOrEqual(acknowledged)
    }
  })

  test('without a quorum status says so, and live publishing goes on', async () => {
    const live = await client(port(1))
    await live.mqtt.subscribeAsync('quorum', { qos: 1 })
    const publisher = await client(port(2))
    await cluster.robust('cluster', 'pause', 'placement-1')
    await cluster.robust('cluster', 'pause', 'placement-2')
    const lost = async () => {
      const { code, stdout } = await cluster.robust('cluster', 'status', '-o', 'json')
      return [code, JSON.parse(stdout).placement.quorum]
    }
    await expect.poll(lost).toEqual([2, false])
    // Delivered at once; acknowledged when it is certain again that this broker was not replaced.
    const published = publisher.mqtt.publishAsync('quorum', 'still here', { qos: 1 })
    await expect.poll(live.texts).toEqual(['still here'])
    await cluster.robust('cluster', 'resume', 'placement-1')
    await cluster.robust('cluster', 'resume', 'placement-2')
    await published
    await expect.poll(async () => (await cluster.robust('cluster', 'status')).code).toBe(0)
  })

  test('a drained broker hands its shards over and loses no message', async () => {
    const publishing = stream(await client(port(1)), 'drained')
    const id = ['-c', '-i', 'drain-sleeper', '-V', '5', '-x', '600', '-q', '1', '-t', 'drained']
    await mosquittoSub(port(2), ...id, '-E')
    const from = publishing.acknowledged.length
    expect((await cluster.robust('cluster', 'drain', 'broker-2')).code).toBe(0)
    const shards = async () =>
      (await cluster.status()).nodes.find(({ name }) => name === 'broker-2')?.shards?.owned
    await expect.poll(shards).toBe(0)
    await publishing.stop()
    const count = String(publishing.acknowledged.length - from - 1)
    const output = await mosquittoSub(port(3), ...id, '-C', count, '-W', '10')
    expect(new Set(output.trim().split('\n')).size).toBeGreaterThanOrEqual(Number(count))
    await mosquittoPub(port(3), '-q', '1', '-t', 'drained', '-m', 'end')
  })
})
