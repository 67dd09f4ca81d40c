// Shared subscriptions of unmodified clients over three brokers, one of which is killed in the middle.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import { type Client, connect, startMosquittoSub } from '../../support/mqtt-clients.ts'

const SLOW = { timeout: 60_000, interval: 200 }
const TOPIC = '$share/workers/jobs/#'

let cluster: TestCluster
let port: (node: number) => number
const open: Client[] = []

beforeEach(async () => {
  cluster = await startCluster('--nodes', '3')
  port = (node) => cluster.mqttPort(node)
})

afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.end()))
  await cluster.purge()
})

async function client(...args: Parameters<typeof connect>): Promise<Client> {
  const connected = await connect(...args)
  open.push(connected)
  return connected
}

const numbers = (count: number) => Array.from({ length: count }, (_, at) => String(at))
const sorted = (texts: readonly string[]) => [...texts].sort((a, b) => Number(a) - Number(b))

describe('shared subscriptions', () => {
  test('each message goes to one client, of any broker and version', async () => {
    const members = await Promise.all([
      client(port(1)),
      client(port(2), { protocolVersion: 4 }),
      client(port(3)),
    ])
    for (const { mqtt } of members) await mqtt.subscribeAsync(TOPIC, { qos: 1 })
    const mosquitto = await startMosquittoSub(port(2), '-V', '5', '-q', '1', '-t', TOPIC)
    const publisher = await client(port(3))
    for (const value of numbers(40)) {
      await publisher.mqtt.publishAsync(`jobs/${value}`, value, { qos: 1 })
    }
    const mosquittos = () => mosquitto.lines().map((line) => line.split(' ')[1] ?? '')
    const all = () => [...members.flatMap((member) => member.texts()), ...mosquittos()]
    await expect.poll(() => sorted(all()), SLOW).toEqual(numbers(40))
    for (const member of members) expect(member.texts().length).toBe(10)
    mosquitto.stop()
  })

  test('a killed broker takes nothing with it that was acknowledged', async () => {
    const survivor = await client(port(1))
    const lost = await client(port(2))
    const away = { clean: false, clientId: 'away', properties: { sessionExpiryInterval: 600 } }
    const durable = await client(port(2), away)
    for (const { mqtt } of [survivor, lost, durable]) await mqtt.subscribeAsync(TOPIC, { qos: 1 })
    const publisher = await client(port(3))
    const acknowledged: string[] = []
    let isOver = false
    const publishing = (async () => {
      for (let at = 0; !isOver; at++) {
        await publisher.mqtt.publishAsync(`jobs/${at}`, String(at), { qos: 1 })
        acknowledged.push(String(at))
      }
    })()
    await expect.poll(() => acknowledged.length, SLOW).toBeGreaterThan(100)
    await cluster.robust('cluster', 'kill', 'broker-2')
    const then = acknowledged.length
    await expect.poll(() => acknowledged.length, SLOW).toBeGreaterThan(then + 200)
    const back = await client(port(3), away)
    expect(back.connack.sessionPresent).toBe(true)
    await expect.poll(() => back.received.length, SLOW).toBeGreaterThan(20)
    isOver = true
    await publishing
    const members = [survivor, lost, durable, back]
    const all = () => new Set(members.flatMap((member) => member.texts()))
    const missing = () => acknowledged.filter((value) => !all().has(value))
    await expect.poll(missing, SLOW).toEqual([])
  })
})
