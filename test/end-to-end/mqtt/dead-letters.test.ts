// Messages that sessions do not get, in a real cluster: where they go, also when their owner is killed.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import { type Client, connect } from '../../support/mqtt-clients.ts'

const SLOW = { timeout: 60_000, interval: 200 }

let cluster: TestCluster
const open: Client[] = []

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3')
  for (const [name, value] of [
    ['mqtt.dead-letter-address', 'dead'],
    ['mqtt.session-messages-max', '50'],
  ] as const) {
    expect((await cluster.robust('config', 'set', name, value)).code).toBe(0)
  }
})

afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.end()))
})

afterAll(() => cluster.purge())

async function client(node: number, clientId: string, seconds = 0): Promise<Client> {
  const properties = { sessionExpiryInterval: seconds }
  const connected = await connect(cluster.mqttPort(node), { clientId, clean: false, properties })
  open.push(connected)
  return connected
}

async function watcher(): Promise<Client> {
  const watching = await client(1, 'watcher')
  await watching.mqtt.subscribeAsync('dead/#', { qos: 1 })
  return watching
}

const numbers = (count: number) => Array.from({ length: count }, (_, at) => String(at))
const story = ({ packet }: Client['received'][number]) => packet.properties?.userProperties ?? {}

describe('dead letters', () => {
  test('have the story of an expired message and of one that found the inbox full', async () => {
    const watching = await watcher()
    const away = await client(2, 'slow', 600)
    await away.mqtt.subscribeAsync('slow/+', { qos: 1 })
    await away.end()
    const publisher = await client(3, 'publisher')
    const brief = { qos: 1, properties: { messageExpiryInterval: 1 } } as const
    await publisher.mqtt.publishAsync('slow/expired', 'late', brief)
    for (const value of numbers(52)) {
      await publisher.mqtt.publishAsync('slow/full', value, { qos: 1 })
    }
    await expect.poll(watching.texts, SLOW).toEqual(['49', '50', '51'])
    const full = watching.received[0] as Client['received'][number]
    expect(full.topic).toBe('dead/slow/full')
    expect(story(full)).toMatchObject({
      'dead-letter-reason': 'inbox-full',
      'dead-letter-session': 'slow',
      'dead-letter-topic': 'slow/full',
    })
    const expiredAt = Date.now() + 1_000
    await expect.poll(() => Date.now(), SLOW).toBeGreaterThan(expiredAt)
    const back = await client(1, 'slow', 600)
    await expect.poll(() => back.texts().length, SLOW).toBe(49)
    await expect.poll(watching.texts, SLOW).toEqual(['49', '50', '51', 'late'])
    const late = watching.received[3] as Client['received'][number]
    expect(story(late)['dead-letter-reason']).toBe('expired')
    expect(late.packet.properties?.messageExpiryInterval).toBe(undefined)
  })

  test('come though the owner of a session that ends is killed', async () => {
    const watching = await watcher()
    const away = await client(1, 'short', 5)
    await away.mqtt.subscribeAsync('short', { qos: 1 })
    await away.end()
    const publisher = await client(1, 'publisher')
    for (const value of numbers(40)) await publisher.mqtt.publishAsync('short', value, { qos: 1 })
    const owner = async () => {
      const { stdout } = await cluster.robust('session', 'list', '--filter', 'short', '-o', 'json')
      return (JSON.parse(stdout) as { items: { node: string }[] }).items[0]?.node ?? ''
    }
    const victim = await owner()
    expect(victim).not.toBe('')
    const isWatchersBroker = victim === 'broker-1'
    await cluster.robust('cluster', 'kill', victim)
    const still = isWatchersBroker ? await client(2, 'watcher-2') : watching
    if (isWatchersBroker) await still.mqtt.subscribeAsync('dead/#', { qos: 1 })
    await expect
      .poll(() => [...new Set(still.texts())].sort((a, b) => Number(a) - Number(b)), SLOW)
      .toEqual(numbers(40))
    await cluster.robust('cluster', 'restart', victim)
  })
})
