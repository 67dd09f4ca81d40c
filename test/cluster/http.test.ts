// The HTTP interface of a real cluster: probes, metrics, administration, and who may use them.
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { type Client, connect } from '../support/mqtt-clients.ts'

const SLOW = { timeout: 30_000, interval: 200 }

let cluster: TestCluster
const open: Client[] = []

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3', '--storage', 'memory:')
})

afterAll(async () => {
  await Promise.all(open.map((client) => client.end()))
  await cluster.purge()
})

const url = (node: number, path: string): string =>
  `http://127.0.0.1:${8080 + 100 * (node - 1) + cluster.offset}${path}`

async function client(node: number, clientId: string, more: object = {}): Promise<Client> {
  const properties = { sessionExpiryInterval: 600 }
  const connected = await connect(cluster.mqttPort(node), { clientId, properties, ...more })
  open.push(connected)
  return connected
}

async function json<T>(node: number, path: string): Promise<T> {
  const reply = await fetch(url(node, path))
  expect(reply.status, path).toBe(200)
  return (await reply.json()) as T
}

const remove = async (node: number, path: string) =>
  (await fetch(url(node, path), { method: 'DELETE' })).status

interface Listed {
  readonly items: readonly Readonly<Record<string, unknown>>[]
  readonly next: string | null
}

const column = ({ items }: Listed, name: string) => items.map((item) => item[name])

describe('HTTP', () => {
  test('every broker tells of all clients in pages, and ends one wherever it is', async () => {
    for (const node of [1, 2, 3]) await client(node, `http-${node}`)
    const first = await json<Listed>(2, '/api/v1/clients?filter=http-&limit=2')
    expect(column(first, 'clientId')).toEqual(['http-1', 'http-2'])
    expect(column(first, 'node')).toEqual(['broker-1', 'broker-2'])
    const rest = await json<Listed>(3, `/api/v1/clients?filter=http-&after=${first.next}`)
    expect(column(rest, 'clientId')).toEqual(['http-3'])
    expect(rest.next).toBe(null)
    const ended = new Promise((resolve) => open[1]?.mqtt.once('disconnect', resolve))
    expect(await remove(3, '/api/v1/clients/http-2')).toBe(204)
    expect(await ended).toMatchObject({ reasonCode: 0x98 })
    expect(await remove(1, '/api/v1/clients/http-2')).toBe(404)
  })

  test('sessions, subscriptions and retained messages are shown, and ended', async () => {
    const away = await client(1, 'away')
    await away.mqtt.subscribeAsync('away/#', { qos: 1 })
    await away.end()
    const publisher = await client(3, 'publisher')
    await publisher.mqtt.publishAsync('away/x', 'text', { qos: 1, retain: true })
    await expect
      .poll(() => json(2, '/api/v1/sessions/away'), SLOW)
      .toMatchObject({ connectedTo: '', queued: 1, subscriptions: 1 })
    const subscriptions = await json<Listed>(1, '/api/v1/subscriptions?filter=away')
    expect(column(subscriptions, 'filter')).toEqual(['away/#'])
    const state = await json(3, '/api/v1/clients/away')
    expect(state).toMatchObject({ session: { clientId: 'away' }, subscriptions: [{}] })
    expect(column(await json(1, '/api/v1/retained?filter=away/%2B'), 'address')).toEqual(['away/x'])
    const retained = await json<{ payload: string }>(2, '/api/v1/retained/away%2Fx')
    expect(Buffer.from(retained.payload, 'base64').toString()).toBe('text')
    expect(await remove(1, '/api/v1/retained/away%2Fx')).toBe(204)
    expect(await remove(2, '/api/v1/retained/away%2Fx')).toBe(404)
    expect(await remove(2, '/api/v1/sessions/away')).toBe(204)
    expect(await remove(3, '/api/v1/sessions/away')).toBe(404)
  })

  test('metrics follow what clients do, and the description is valid', async () => {
    const scrape = async () => (await fetch(url(1, '/metrics'))).text()
    const value = (text: string, name: string) =>
      Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (.+)$`, 'm').exec(text)?.[1])
    const before = await scrape()
    const watcher = await client(1, 'watcher', { clean: false })
    await watcher.mqtt.subscribeAsync('counted/#', { qos: 1 })
    for (let at = 0; at < 10; at++) await watcher.mqtt.publishAsync('counted/x', 'v', { qos: 1 })
    await expect.poll(() => watcher.received.length, SLOW).toBe(10)
    const gained = async (name: string) => value(await scrape(), name) - value(before, name)
    expect(await gained('robust_messages_received_total')).toBe(10)
    await expect.poll(() => gained('robust_messages_acknowledged_total'), SLOW).toBe(10)
    expect(await gained('robust_publish_duration_seconds_count')).toBe(10)
    expect(await gained('robust_delivery_duration_seconds_count')).toBe(10)
    const text = await scrape()
    expect(value(text, 'robust_ready')).toBe(1)
    for (const family of ['robust_storage_operation', 'robust_rpc', 'robust_event_loop']) {
      expect(text).toMatch(new RegExp(`^${family}_(duration|delay)_seconds_count.* [1-9]`, 'm'))
    }
    const document = await json<Record<string, unknown>>(3, '/api/v1/openapi.json')
    expect(await new Validator().validate(document)).toMatchObject({ valid: true })
  })

  test('the cluster is told with its brokers, and one that dies is missing', async () => {
    expect(await json(1, '/api/v1/cluster')).toMatchObject({
      health: 'healthy',
      shards: { total: 64, open: 64 },
      brokers: [{ node: 'broker-1' }, { node: 'broker-2' }, { node: 'broker-3' }],
    })
    const inspected = await json(1, '/api/v1/brokers/broker-3')
    expect(inspected).toMatchObject({ node: 'broker-3', placementConnected: true })
    await cluster.robust('cluster', 'pause', 'broker-2')
    // Half a list would lie.
    const held = await fetch(url(1, '/api/v1/clients'))
    expect(held.status).toBe(503)
    expect(held.headers.get('content-type')).toContain('application/problem+json')
    const nodes = async () =>
      (await json<{ brokers: { node: string }[] }>(3, '/api/v1/cluster')).brokers.length
    await expect.poll(nodes, SLOW).toBe(2)
    await json<Listed>(1, '/api/v1/clients')
    await cluster.robust('cluster', 'resume', 'broker-2')
    await expect.poll(nodes, SLOW).toBe(3)
    await expect.poll(async () => (await fetch(url(2, '/readyz'))).status, SLOW).toBe(200)
  })

  test('who publishes more than may be retained is told so, and it is counted', async () => {
    const publisher = await client(1, 'retainer')
    const set = (value: string) =>
      cluster.robust('config', 'set', 'mqtt.retained-messages-max', value)
    // One for each shard.
    expect((await set('64')).code).toBe(0)
    const refused = async (name: string): Promise<number> => {
      let count = 0
      for (let at = 0; at < 150; at++) {
        await publisher.mqtt
          .publishAsync(`${name}/${at}`, 'v', { qos: 1, retain: true })
          .catch((error: { code?: number }) => {
            expect(error.code).toBe(0x97)
            count++
          })
      }
      return count
    }
    let told = 0
    await expect
      .poll(async () => {
        told += await refused(`round-${told}`)
        return told
      }, SLOW)
      .toBeGreaterThan(100)
    const counted = async () => {
      const texts = await Promise.all(
        [1, 2, 3].map(async (node) => (await fetch(url(node, '/metrics'))).text()),
      )
      const pattern = /^robust_messages_dropped_total\{reason="retained-limit".* (\d+)$/m
      return texts.reduce((sum, text) => sum + Number(pattern.exec(text)?.[1] ?? 0), 0)
    }
    expect(await counted()).toBe(told)
    await cluster.robust('config', 'unset', 'mqtt.retained-messages-max')
  })

  test('with users, administrators only; probes are open', async () => {
    const create = (name: string, ...more: string[]) =>
      cluster.robust('user', 'create', name, '--password', 'secret', ...more)
    expect((await create('reader')).code).toBe(0)
    expect((await create('root', '--admin')).code).toBe(0)
    const as = async (name: string, password: string, path = '/api/v1/clients') => {
      const basic = Buffer.from(`${name}:${password}`).toString('base64')
      return (await fetch(url(2, path), { headers: { authorization: `Basic ${basic}` } })).status
    }
    await expect.poll(async () => (await fetch(url(2, '/api/v1/clients'))).status, SLOW).toBe(401)
    expect(await as('root', 'secret')).toBe(200)
    expect(await as('root', 'secret', '/metrics')).toBe(200)
    expect(await as('root', 'wrong')).toBe(401)
    expect(await as('reader', 'secret')).toBe(403)
    expect((await fetch(url(2, '/metrics'))).status).toBe(401)
    expect((await fetch(url(2, '/livez'))).status).toBe(200)
    expect((await fetch(url(2, '/readyz'))).status).toBe(200)
  })
})
