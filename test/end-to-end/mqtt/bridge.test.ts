// Bridges between a real cluster and Debian's mosquitto: both ways, in a loop, over restarts and deaths.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { TestAuthority } from '../../support/certificates.ts'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import { Mosquitto } from '../../support/mosquitto.ts'
import { type Client, connect } from '../../support/mqtt-clients.ts'

const SLOW = { timeout: 60_000, interval: 200 }

let cluster: TestCluster
let mosquitto: Mosquitto
const open: Client[] = []
const bridges: string[] = []

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3')
  mosquitto = await Mosquitto.create()
  await mosquitto.start()
})

afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.end()))
  for (const name of bridges.splice(0)) await cluster.robust('bridge', 'remove', name)
})

afterAll(async () => {
  await cluster.purge()
  await mosquitto.remove()
})

async function client(port: number, more: Parameters<typeof connect>[1] = {}): Promise<Client> {
  const connected = await connect(port, more)
  open.push(connected)
  return connected
}

async function watching(port: number, filter: string): Promise<Client> {
  const watcher = await client(port)
  await watcher.mqtt.subscribeAsync(filter, { qos: 2 })
  return watcher
}

interface Status {
  readonly name: string
  readonly state: string
  readonly node: string
  readonly lastError: string
  readonly looped: number
  readonly sent: number
}

async function status(name: string): Promise<Status | undefined> {
  const { stdout } = await cluster.robust('bridge', 'status', '-o', 'json')
  return (JSON.parse(stdout) as Status[]).find((bridge) => bridge.name === name)
}

async function bridge(name: string, ...rules: string[]): Promise<void> {
  const url = `mqtt://127.0.0.1:${mosquitto.port}`
  const { code, stderr } = await cluster.robust('bridge', 'add', name, url, ...rules)
  expect([code, stderr]).toEqual([0, ''])
  bridges.push(name)
  await expect.poll(async () => (await status(name))?.state, SLOW).toBe('connected')
}

const place = ({ topic, text, packet }: Client['received'][number]) =>
  [topic, text, packet.qos] as const

describe('a bridge', () => {
  test('carries messages both ways, with prefixes and QoS, of either version', async () => {
    await bridge('five', '--in', 'in5/# 2 here/', '--out', 'out5/# 1 there/')
    await bridge('three', '--protocol', '3.1.1', '--in', 'in3/#', '--out', 'out3/# 2')
    const runs = Number((await status('five'))?.node.split('-')[1])
    const http = 8080 + 100 * (runs - 1) + cluster.offset
    const metrics = await (await fetch(`http://127.0.0.1:${http}/metrics`)).text()
    expect(metrics).toMatch(/^robust_bridge_connected\{bridge="five".*\} 1$/m)
    const here = await watching(cluster.mqttPort(1), '#')
    const there = await watching(mosquitto.port, '#')
    const local = await client(cluster.mqttPort(2))
    const remote = await client(mosquitto.port)
    const properties = { contentType: 'text/x', userProperties: { own: 'kept' } }
    await remote.mqtt.publishAsync('in5/a', '1', { qos: 2, properties })
    await remote.mqtt.publishAsync('in3/a', '2', { qos: 1 })
    await remote.mqtt.publishAsync('in3/b', '3', { qos: 0 })
    await local.mqtt.publishAsync('out5/a', '4', { qos: 2, properties })
    await local.mqtt.publishAsync('out5/b', '5', { qos: 0 })
    await local.mqtt.publishAsync('out3/a', '6', { qos: 2 })
    await expect
      .poll(() => here.received.map(place).toSorted(), SLOW)
      .toEqual(
        [
          ['here/in5/a', '1', 2],
          ['in3/a', '2', 1],
          ['in3/b', '3', 0],
          ['out3/a', '6', 2],
          ['out5/a', '4', 2],
          ['out5/b', '5', 0],
        ].toSorted(),
      )
    await expect
      .poll(() => there.received.map(place).toSorted(), SLOW)
      .toEqual(
        [
          ['in3/a', '2', 1],
          ['in3/b', '3', 0],
          ['in5/a', '1', 2],
          ['out3/a', '6', 2],
          ['there/out5/a', '4', 1],
          ['there/out5/b', '5', 0],
        ].toSorted(),
      )
    const came = here.received.find(({ text }) => text === '1')?.packet.properties
    expect(came).toMatchObject({ contentType: 'text/x', userProperties: { own: 'kept' } })
    const went = there.received.find(({ text }) => text === '4')?.packet.properties
    expect(went).toMatchObject({ contentType: 'text/x', userProperties: { own: 'kept' } })
  })

  test('brings what was retained before, and the flag with it', async () => {
    const local = await client(cluster.mqttPort(1))
    const remote = await client(mosquitto.port)
    await local.mqtt.publishAsync('kept/here', 'a', { qos: 1, retain: true })
    await remote.mqtt.publishAsync('kept/there', 'b', { qos: 1, retain: true })
    await bridge('retained', '--in', 'kept/#', '--out', 'kept/#')
    const retained = async (port: number) => {
      const late = await watching(port, 'kept/#')
      await expect.poll(() => late.received.length, SLOW).toBeGreaterThan(1)
      return late.received.map(({ topic, packet }) => [topic, packet.retain]).toSorted()
    }
    const both = [
      ['kept/here', true],
      ['kept/there', true],
    ]
    const eventually = async (port: number) => {
      await expect.poll(() => retained(port), SLOW).toEqual(both)
    }
    await eventually(cluster.mqttPort(3))
    await eventually(mosquitto.port)
  })

  test('in a loop, each message is there once', async () => {
    await bridge('loop-one', '--in', 'loop/#', '--out', 'loop/#')
    await bridge('loop-two', '--in', 'loop/#', '--out', 'loop/#')
    const here = await watching(cluster.mqttPort(1), 'loop/#')
    const there = await watching(mosquitto.port, 'loop/#')
    const local = await client(cluster.mqttPort(2))
    await local.mqtt.publishAsync('loop/a', 'x', { qos: 1 })
    // Each bridge carries it there, and each is brought what the other one carried.
    await expect.poll(async () => (await status('loop-one'))?.looped, SLOW).toBe(1)
    await expect.poll(async () => (await status('loop-two'))?.looped, SLOW).toBe(1)
    expect(here.texts()).toEqual(['x'])
    expect(there.texts()).toEqual(['x', 'x'])
  })

  test('loses nothing that was acknowledged when mosquitto restarts and its broker is killed', async () => {
    await bridge('strong', '--in', 'in/# 1', '--out', 'out/# 1')
    const runs = await status('strong')
    const victim = Number(runs?.node.split('-')[1])
    const others = [1, 2, 3].filter((node) => node !== victim) as [number, number]
    const here = await watching(cluster.mqttPort(others[0]), 'in/#')
    const durable = { clientId: 'there', clean: false, reconnectPeriod: 100 }
    const there = await client(mosquitto.port, {
      ...durable,
      properties: { sessionExpiryInterval: 600 },
    })
    await there.mqtt.subscribeAsync('out/#', { qos: 1 })
    const ports = { in: mosquitto.port, out: cluster.mqttPort(others[1]) }
    const flows = await Promise.all(
      Object.entries(ports).map(async ([name, port]) => {
        const publisher = await client(port, { reconnectPeriod: 100 })
        const acknowledged: string[] = []
        let isOver = false
        const running = (async () => {
          for (let at = 0; !isOver; at++) {
            await publisher.mqtt.publishAsync(`${name}/x`, String(at), { qos: 1 })
            acknowledged.push(String(at))
          }
        })()
        const end = () => {
          isOver = true
          return running
        }
        return { acknowledged, end }
      }),
    )
    const [incoming, outgoing] = flows as [(typeof flows)[0], (typeof flows)[0]]
    const more = async (count: number) => {
      const before = flows.map(({ acknowledged }) => acknowledged.length)
      const gained = () =>
        Math.min(...flows.map(({ acknowledged }, at) => acknowledged.length - (before[at] ?? 0)))
      await expect.poll(gained, SLOW).toBeGreaterThan(count)
    }
    await more(200)
    await mosquitto.stop()
    await mosquitto.start()
    await more(200)
    await cluster.robust('cluster', 'kill', `broker-${victim}`)
    await expect.poll(async () => (await status('strong'))?.node, SLOW).not.toBe(runs?.node)
    await expect.poll(async () => (await status('strong'))?.state, SLOW).toBe('connected')
    await more(200)
    await Promise.all(flows.map(({ end }) => end()))
    const missing = (flow: (typeof flows)[0], watcher: Client) => {
      const got = new Set(watcher.texts())
      return flow.acknowledged.filter((text) => !got.has(text))
    }
    await expect.poll(() => missing(incoming, here), SLOW).toEqual([])
    await expect.poll(() => missing(outgoing, there), SLOW).toEqual([])
    await cluster.robust('cluster', 'restart', `broker-${victim}`)
  })

  test('speaks TLS with a name and a password, and shows no password', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'robust-bridge-'))
    const authority = await TestAuthority.create(folder, 'bridge')
    const { certificate, key } = await authority.issue('localhost')
    const secure = await Mosquitto.create()
    try {
      const users = secure.passwords('robust', 'opensesame')
      secure.configure(
        ...['allow_anonymous false', `password_file ${users}`],
        ...[`certfile ${certificate}`, `keyfile ${key}`],
      )
      await secure.start()
      const password = join(folder, 'password')
      writeFileSync(password, 'opensesame\n')
      const url = `mqtts://127.0.0.1:${secure.port}`
      const add = (...more: string[]) =>
        cluster.robust(
          'bridge',
          'add',
          'secure',
          url,
          '--out',
          'tls/#',
          '--user',
          'robust',
          ...more,
        )
      expect((await add('--password', 'wrong', '--ca', authority.file)).code).toBe(0)
      bridges.push('secure')
      const lastError = async () => (await status('secure'))?.lastError
      await expect.poll(lastError, SLOW).toMatch(/refused: 0x8[67]/)
      expect((await cluster.robust('bridge', 'status')).code).toBe(1)
      expect((await add('--password-file', password)).code).toBe(1)
      // Whose certificate is it?
      expect((await add('--password-file', password, '--replace')).code).toBe(0)
      await expect.poll(lastError, SLOW).toMatch(/certificate/)
      const trusted = ['--password-file', password, '--replace', '--ca', authority.file]
      expect((await add(...trusted)).code).toBe(0)
      await expect.poll(async () => (await status('secure'))?.state, SLOW).toBe('connected')
      const local = await client(cluster.mqttPort(1))
      await local.mqtt.publishAsync('tls/x', 'secret path', { qos: 1 })
      await expect.poll(async () => (await status('secure'))?.sent, SLOW).toBe(1)
      for (const command of [['list'], ['show', 'secure'], ['status']]) {
        for (const format of ['table', 'json']) {
          const { stdout } = await cluster.robust('bridge', ...command, '-o', format)
          expect(stdout).toContain('secure')
          expect(stdout).not.toContain('opensesame')
        }
      }
    } finally {
      await secure.remove()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
