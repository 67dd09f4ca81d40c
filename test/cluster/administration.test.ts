// What operators see of clients, and end, through any part of a real cluster.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { type Client, connect } from '../support/mqtt-clients.ts'

const SLOW = { timeout: 20_000, interval: 200 }

let cluster: TestCluster
const open: Client[] = []

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3')
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

interface Listed {
  readonly items: readonly { readonly [name: string]: unknown }[]
  readonly next: string | null
}

async function list(...args: string[]): Promise<Listed> {
  const { stdout, stderr } = await cluster.robust(...args, '-o', 'json')
  expect(stderr).toBe('')
  return JSON.parse(stdout) as Listed
}

const column = ({ items }: Listed, name: string) => items.map((item) => item[name])

describe('robust client', () => {
  test('lists those of all brokers in pages, shows one, and ends its connection', async () => {
    for (const node of [1, 2, 3]) await client(node, `listed-${node}`)
    const first = await list('client', 'list', '--filter', 'listed', '--limit', '2')
    expect(column(first, 'clientId')).toEqual(['listed-1', 'listed-2'])
    expect(column(first, 'node')).toEqual(['broker-1', 'broker-2'])
    const rest = await list('client', 'list', '--filter', 'listed', '--after', String(first.next))
    expect(column(rest, 'clientId')).toEqual(['listed-3'])
    expect(rest.next).toBe(null)

    await open[1]?.mqtt.subscribeAsync('shown/+', { qos: 1 })
    const shown = await cluster.robust('client', 'show', 'listed-2')
    expect(shown.stdout).toContain('MQTT 5.0')
    expect(shown.stdout).toContain('shown/+')
    const ended = new Promise((resolve) => open[1]?.mqtt.once('disconnect', resolve))
    expect((await cluster.robust('client', 'kick', 'listed-2')).code).toBe(0)
    expect(await ended).toMatchObject({ reasonCode: 0x98 })
    const again = await cluster.robust('client', 'kick', 'listed-2')
    expect(again.code).toBe(66)
    expect(again.stderr).toContain('no connected client listed-2')
  })
})

describe('robust session and subscription', () => {
  test('show what waits for a client that is away, and end it', async () => {
    const away = await client(1, 'away-1', 600)
    await away.mqtt.subscribeAsync(['away/#', '$share/g/away/#'], { qos: 1 })
    await away.end()
    const publisher = await client(2, 'publisher')
    for (const text of ['a', 'b', 'c']) {
      await publisher.mqtt.publishAsync('away/x', text, { qos: 1 })
    }
    const sessions = () => list('session', 'list', '--filter', 'away-')
    await expect
      .poll(async () => (await sessions()).items[0], SLOW)
      .toMatchObject({ clientId: 'away-1', connectedTo: '', subscriptions: 2, queued: 3 })
    const subscriptions = await list('subscription', 'list', '--filter', 'away-1')
    expect(column(subscriptions, 'filter')).toEqual(['$share/g/away/#', 'away/#'])
    expect((await cluster.robust('session', 'delete', 'away-1')).code).toBe(0)
    expect((await sessions()).items).toEqual([])
    expect((await cluster.robust('session', 'delete', 'away-1')).code).toBe(66)
    const back = await client(3, 'away-1')
    expect(back.connack.sessionPresent).toBe(false)
  })

  test('end the connection of a session with it', async () => {
    const connected = await client(2, 'ended', 600)
    const closed = new Promise((resolve) => connected.mqtt.once('close', () => resolve('closed')))
    expect((await cluster.robust('session', 'delete', 'ended')).code).toBe(0)
    expect(await closed).toBe('closed')
  })
})

describe('robust retained', () => {
  test('lists, prints and forgets, and tells no subscriber', async () => {
    const publisher = await client(1, 'publisher')
    for (const at of ['1', '2', '3']) {
      await publisher.mqtt.publishAsync(`kept/${at}`, `v${at}`, { qos: 1, retain: true })
    }
    const first = await list('retained', 'list', '--filter', 'kept/+', '--limit', '2')
    expect(column(first, 'address')).toEqual(['kept/1', 'kept/2'])
    const rest = await list('retained', 'list', '--filter', 'kept/+', '--after', 'kept/2')
    expect(column(rest, 'address')).toEqual(['kept/3'])
    expect((await cluster.robust('retained', 'get', 'kept/2')).stdout).toBe('v2\n')
    const watcher = await client(3, 'watcher')
    await watcher.mqtt.subscribeAsync('kept/2', { qos: 1 })
    await expect.poll(watcher.texts, SLOW).toEqual(['v2'])
    expect((await cluster.robust('retained', 'delete', 'kept/2')).code).toBe(0)
    expect((await cluster.robust('retained', 'delete', 'kept/2')).code).toBe(66)
    expect((await cluster.robust('retained', 'get', 'kept/2')).code).toBe(66)
    const late = await client(2, 'late')
    await late.mqtt.subscribeAsync('kept/#', { qos: 1 })
    await expect.poll(() => late.texts().toSorted(), SLOW).toEqual(['v1', 'v3'])
    expect(watcher.texts()).toEqual(['v2'])
  })
})
