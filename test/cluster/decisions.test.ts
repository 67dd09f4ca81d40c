// What the Placement Center decides from reports and from operators: each test makes the condition, and
// sees the decision, the order and what it did to real clients of a real cluster.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import { shardOf } from '@robust/broker'
import mqtt, { type IConnackPacket, type IDisconnectPacket } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type ClusterEvent, startCluster, type TestCluster } from '../support/cluster.ts'
import { type Client, connect, mosquittoPub, mosquittoSub } from '../support/mqtt-clients.ts'

const SHARDS = 64
const SLOW = { timeout: 20_000, interval: 200 }
const USE_ANOTHER_SERVER = 0x9c
const QUOTA_EXCEEDED = 0x97
const SERVER_BUSY = 0x89
const CONNECTION_RATE_EXCEEDED = 0x9f

let cluster: TestCluster
let port: (node: number) => number
const open: Client[] = []
const touched = new Set<string>()

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3')
  port = (node) => cluster.mqttPort(node)
})

afterEach(async () => {
  for (const name of touched) await cluster.robust('config', 'unset', name)
  touched.clear()
  await Promise.all(open.splice(0).map((client) => client.end()))
})

afterAll(async () => {
  await cluster.purge()
})

async function set(settings: Readonly<Record<string, string | number>>): Promise<void> {
  for (const [name, value] of Object.entries(settings)) {
    touched.add(name)
    const { code, stderr } = await cluster.robust('config', 'set', name, String(value))
    expect(stderr).toBe('')
    expect(code).toBe(0)
  }
}

async function client(...args: Parameters<typeof connect>): Promise<Client> {
  const connected = await connect(...args)
  open.push(connected)
  return connected
}

/** Events that came after the last look, of a kind about a node. */
async function eventsOf(kind: string, subject?: string): Promise<ClusterEvent[]> {
  const events = await cluster.events('--limit', '0')
  return events.filter(
    (event) => event.kind === kind && (subject === undefined || event.subject === subject),
  )
}

async function owned(name: string): Promise<number | undefined> {
  return (await cluster.status()).nodes.find((node) => node.name === name)?.shards?.owned
}

/** The CONNACK of a connection, whether it is refused or not; the connection is ended. */
function knock(at: number): Promise<IConnackPacket> {
  return new Promise((resolve) => {
    const one = mqtt.connect({
      host: '127.0.0.1',
      port: at,
      protocolVersion: 5,
      reconnectPeriod: 0,
    })
    one.on('error', () => undefined)
    one.on('packetreceive', (packet) => {
      if (packet.cmd !== 'connack') return
      resolve(packet)
      one.end(true)
    })
  })
}

async function crowd(at: number, count: number): Promise<{ told: IDisconnectPacket[] }> {
  const told: IDisconnectPacket[] = []
  const clients = await Promise.all(Array.from({ length: count }, () => client(at)))
  for (const each of clients) each.mqtt.on('disconnect', (packet) => told.push(packet))
  return { told }
}

describe('settings', () => {
  test('limits hold for brokers as soon as they are set, and are gone when they are unset', async () => {
    await set({ 'limits.connections-max': 2 })
    await expect.poll(async () => (await knock(port(1))).reasonCode, SLOW).toBe(0)
    await crowd(port(1), 2)
    await expect.poll(async () => (await knock(port(1))).reasonCode).toBe(QUOTA_EXCEEDED)
    expect((await knock(port(2))).reasonCode).toBe(0)
    await cluster.robust('config', 'unset', 'limits.connections-max')
    await expect.poll(async () => (await knock(port(1))).reasonCode).toBe(0)

    await set({ 'limits.connections-per-second': 1 })
    const burst = async (): Promise<(number | undefined)[]> => {
      const connacks = await Promise.all(Array.from({ length: 5 }, () => knock(port(1))))
      return connacks.map(({ reasonCode }) => reasonCode)
    }
    await expect.poll(burst).toContain(CONNECTION_RATE_EXCEEDED)

    await set({ 'limits.packet-bytes': 2_048 })
    await cluster.robust('config', 'unset', 'limits.connections-per-second')
    const offered = async () => (await knock(port(2))).properties?.maximumPacketSize
    await expect.poll(offered).toBe(2_048)
  })

  test('the log level changes while a broker runs', async () => {
    const read = () => readFileSync(join(cluster.home, 'clusters/local/logs/broker-1.log'), 'utf8')
    await set({ 'log.level': 'error', 'overload.connections': 1, 'overload.after-ms': 0 })
    await set({ 'overload.shed-percent': 0 })
    await crowd(port(1), 3)
    await expect.poll(() => eventsOf('BrokerOverloaded', 'broker-1'), SLOW).not.toEqual([])
    await expect.poll(async () => (await knock(port(1))).reasonCode).toBe(USE_ANOTHER_SERVER)
    expect(read()).not.toContain('throttled by the Placement Center')
    await set({ 'log.level': 'info', 'overload.connections': 0 })
    await expect.poll(read, SLOW).toContain('throttled by the Placement Center')
  })

  test('a change that was decided on an old version is refused; history and rollback', async () => {
    const name = 'rebalance.moves-per-minute'
    touched.add(name)
    const change = (...args: string[]) => cluster.robust('config', ...args, '-o', 'json')
    const first = JSON.parse((await change('set', name, '7', '--expect-version', '0')).stdout)
    const refused = await change('set', name, '8', '--expect-version', '0')
    expect(refused.code).toBe(1)
    expect(JSON.parse(refused.stderr).error.id).toBe('CONFLICT')
    const version = String(first.version)
    expect((await change('set', name, '8', '--expect-version', version)).code).toBe(0)
    expect(JSON.parse((await change('rollback', name)).stdout).value).toBe(7)
    const history = JSON.parse((await change('history', name)).stdout)
    expect(history.slice(-3).map(({ value }: { value: number }) => value)).toEqual([7, 8, 7])
    expect(await eventsOf('SettingChanged', name)).toMatchObject([
      { reason: expect.stringMatching(/^its default -> 7, by /) },
      { reason: expect.stringMatching(/^7 -> 8, by /) },
      { reason: expect.stringMatching(/^8 -> 7, by /) },
    ])
  })
})

describe('a password in a setting', () => {
  test('is kept, and shown nowhere', async () => {
    const name = 'security.redis-url'
    touched.add(name)
    const secret = 'opensesame'
    const shown: string[] = []
    const robust = async (...args: string[]) => {
      const { code, stdout, stderr } = await cluster.robust(...args)
      expect(code, args.join(' ')).toBe(0)
      shown.push(stdout, stderr)
    }
    await robust('config', 'set', name, `redis://me:${secret}@127.0.0.1:1/0`)
    await robust('config', 'set', name, `redis://me:${secret}@127.0.0.1:2/0`, '-o', 'json')
    for (const command of ['list', 'get', 'history']) {
      const named = command === 'list' ? [] : [name]
      await robust('config', command, ...named)
      await robust('config', command, ...named, '-o', 'json')
    }
    await robust('config', 'rollback', name)
    await robust('cluster', 'events')
    await robust('cluster', 'events', '-o', 'json')
    const url = `http://127.0.0.1:${8080 + cluster.offset}/api/v1/brokers/broker-1`
    const inForce = async () => (await fetch(url)).text()
    await expect.poll(inForce, SLOW).toContain('redis://me:***@127.0.0.1:1/0')
    shown.push(await inForce())
    const logs = join(cluster.home, 'clusters/local/logs')
    for (const file of readdirSync(logs)) shown.push(readFileSync(join(logs, file), 'utf8'))
    expect(shown.join('\n')).toContain('redis://me:***@127.0.0.1:1/0')
    expect(shown.filter((text) => text.includes(secret))).toEqual([])
  })
})

describe('overload', () => {
  test('a broker with too many clients refuses new ones, moves a share, and is let off', async () => {
    await set({
      'overload.after-ms': 500,
      'overload.shed-percent': 30,
      'overload.shed-interval-ms': 2_000,
      'overload.shed-per-second': 50,
      'overload.connections': 12,
    })
    const old = await client(port(2), { protocolVersion: 4 })
    const { told } = await crowd(port(2), 19)
    await expect.poll(() => eventsOf('BrokerOverloaded', 'broker-2'), SLOW).toHaveLength(1)
    const [decision] = await eventsOf('BrokerOverloaded', 'broker-2')
    expect(decision?.reason).toMatch(/^connections \d+ \(threshold 12\), for 0\.\d s;/)

    // Refused, with where to go; a client of 3.1.1 cannot be told more than "unavailable".
    const others = [1, 3].map((node) => `127.0.0.1:${port(node)}`)
    await expect.poll(async () => (await knock(port(2))).reasonCode).toBe(USE_ANOTHER_SERVER)
    expect(others).toContain((await knock(port(2))).properties?.serverReference)
    await expect(mosquittoPub(port(2), '-V', '311', '-t', 'x', '-m', 'y')).rejects.toThrow(
      /unavailable/i,
    )

    // Moved: told the same, until there are no more than the threshold.
    await expect.poll(() => told.length, SLOW).toBeGreaterThanOrEqual(6)
    expect(told.every(({ reasonCode }) => reasonCode === USE_ANOTHER_SERVER)).toBe(true)
    const servers = new Set(told.map(({ properties }) => properties?.serverReference))
    expect([...servers].every((server) => others.includes(server ?? ''))).toBe(true)
    const shed = await eventsOf('ClientsShed', 'broker-2')
    expect(shed[0]?.reason).toMatch(/^6 clients are moved to broker-\d, broker-\d: connections 20/)

    const left = async (): Promise<number> => {
      const status = await cluster.status()
      return status.nodes.find(({ name }) => name === 'broker-2')?.load?.connections ?? 99
    }
    await expect.poll(left, SLOW).toBeLessThanOrEqual(12)
    await Promise.all(open.filter(({ mqtt: each }) => each.connected).map((each) => each.end()))
    await expect.poll(() => eventsOf('BrokerRelieved', 'broker-2'), SLOW).toHaveLength(1)
    await expect.poll(async () => (await knock(port(2))).reasonCode).toBe(0)
    expect(old.mqtt.connected).toBe(false)
  })
})

describe('overload by other causes', () => {
  test('memory: when all brokers are above the threshold new clients are told that they are busy', async () => {
    await set({ 'overload.after-ms': 0, 'overload.shed-percent': 0 })
    await set({ 'overload.memory-bytes': 10_000_000 })
    await expect.poll(async () => (await knock(port(1))).reasonCode, SLOW).toBe(SERVER_BUSY)
    const [decision] = await eventsOf('BrokerOverloaded', 'broker-1').then((all) => all.slice(-1))
    expect(decision?.reason).toMatch(/^memory \d+ bytes \(threshold 10000000\)/)
    await cluster.robust('config', 'unset', 'overload.memory-bytes')
    await expect.poll(async () => (await knock(port(1))).reasonCode, SLOW).toBe(0)
  })

  test('event-loop delay: a broker that was held up is seen, and let off when it is well again', async () => {
    await set({ 'overload.after-ms': 0, 'overload.shed-percent': 0 })
    await set({ 'overload.loop-delay-ms': 15 })
    const heldUp = async () => {
      await cluster.robust('cluster', 'pause', 'broker-3')
      await cluster.robust('cluster', 'resume', 'broker-3')
      const events = await eventsOf('BrokerOverloaded', 'broker-3')
      return events.some(({ reason }) => reason.startsWith('event-loop delay'))
    }
    await expect.poll(heldUp, SLOW).toBe(true)
    await cluster.robust('config', 'unset', 'overload.loop-delay-ms')
    await expect.poll(async () => (await knock(port(3))).reasonCode, SLOW).toBe(0)
  })
})

describe('rebalance', () => {
  test('a broker whose shards carry the load loses some of them, for a reason with numbers', async () => {
    await set({
      'rebalance.band-percent': 20,
      'rebalance.messages-min': 20,
      'rebalance.reports': 2,
    })
    const before = (await owned('broker-1')) ?? 0
    const topics = await topicsOf('broker-1')
    const publisher = await client(port(1))
    let running = true
    const load = Array.from({ length: 32 }, async (_, worker) => {
      for (let i = worker; running; i++) {
        const topic = topics[i % topics.length] as string
        await publisher.mqtt.publishAsync(topic, `${i}`, { qos: 1, retain: true })
      }
    })
    const forLoad = async () => {
      const moves = await eventsOf('ShardsMoved')
      return moves.filter(({ reason }) => reason.includes('for load')).length
    }
    await expect.poll(forLoad, SLOW).toBeGreaterThanOrEqual(2)
    running = false
    await Promise.all(load)
    expect(await owned('broker-1')).toBeLessThan(before)
    const [hot] = await eventsOf('BrokerHot', 'broker-1')
    expect(hot?.reason).toMatch(/^load \d\.\d\d of the mean, \d+ messages\/s, .* in 2 reports$/)
    const moving = (await eventsOf('ShardsMoving')).filter(({ reason }) =>
      reason.startsWith('for load'),
    )
    expect(moving[0]?.reason).toMatch(
      /^for load: broker-1 at \d\.\d\d of the mean, broker-\d at \d\.\d\d, the shard is \d\.\d\d$/,
    )
    // At most rebalance.moves-per-minute of them, in less than a minute.
    expect(moving.flatMap(({ shards }) => shards).length).toBeLessThanOrEqual(6)
    for (const topic of topics.slice(0, 5)) {
      const args = ['-q', '1', '-t', topic, '-C', '1', '-W', '10']
      expect(await mosquittoSub(port(2), ...args)).toMatch(/^\d+\n$/)
    }
  })

  /** One topic for each shard of the broker, by the hash that retained messages are kept by. */
  async function topicsOf(name: string): Promise<string[]> {
    const granted = (await cluster.events('--limit', '0')).filter(({ kind }) =>
      ['ShardsGranted', 'ShardsOpened'].includes(kind),
    )
    const owners = new Map<number, string>()
    for (const { subject, shards } of granted) for (const each of shards) owners.set(each, subject)
    const topics = new Map<number, string>()
    for (let i = 0; i < 5_000; i++) {
      const shard = shardOf('retained', `load/${i}`, SHARDS)
      if (owners.get(shard) === name && !topics.has(shard)) topics.set(shard, `load/${i}`)
    }
    return [...topics.values()]
  }
})

describe('failure case 14', () => {
  /** Sends bytes to a port until they are taken or the server hangs up. */
  function throwAt(at: number, bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      const socket = connectSocket(at, '127.0.0.1', () => {
        socket.write(bytes, () => socket.end())
      })
      socket.resume()
      socket.on('error', () => undefined)
      socket.on('close', () => resolve())
      socket.setTimeout(3_000, () => socket.destroy())
    })
  }

  test('noise at every port of brokers and the Placement Center changes nothing', async () => {
    const shape = async () => {
      const { nodes, placement: center } = await cluster.status()
      return [center.term, nodes.map(({ name, pid, shards }) => [name, pid, shards?.owned])]
    }
    const before = await shape()
    const blocks = Array.from({ length: 32_768 }, (_, at) =>
      createHash('sha256').update(String(at)).digest(),
    )
    const noise = Buffer.concat(blocks)
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    const ports = [0, 1, 2].flatMap((at) =>
      [1_228, 9_981, 1_883].map((standard) => standard + at * 100 + cluster.offset),
    )
    for (const at of ports) {
      await Promise.all([throwAt(at, noise), throwAt(at, Buffer.concat([preface, noise]))])
    }
    expect(await shape()).toEqual(before)
    expect((await cluster.robust('cluster', 'status')).code).toBe(0)
    await mosquittoPub(port(1), '-q', '1', '-t', 'after/noise', '-m', 'well')
  })
})

describe('drain', () => {
  test('a broker is drained under load: nothing fails, clients are told where to go, gaps are short', async () => {
    const { told } = await crowd(port(3), 10)
    const publisher = await client(port(1))
    const id = ['-c', '-i', 'drain-keeper', '-V', '5', '-x', '600', '-q', '1', '-t', 'drain/#']
    await mosquittoSub(port(1), ...id, '-E')
    let running = true
    let next = 0
    let published = 0
    const publishing = Array.from({ length: 8 }, async () => {
      for (; running; published++) {
        const n = next++
        await publisher.mqtt.publishAsync(`drain/${n % 97}`, `${n}`, { qos: 1, retain: true })
      }
    })
    await expect.poll(() => published).toBeGreaterThan(50)
    const from = (await eventsOf('ShardsMoved')).length
    const drained = await cluster.robust('cluster', 'drain', 'broker-3', '--deadline', '30s')
    expect(drained.stderr).toBe('')
    expect(drained.code).toBe(0)
    running = false
    await Promise.all(publishing)
    expect(told).toHaveLength(10)
    expect(told.every(({ reasonCode }) => reasonCode === USE_ANOTHER_SERVER)).toBe(true)
    expect((await knock(port(3))).reasonCode).toBe(USE_ANOTHER_SERVER)
    expect(await owned('broker-3')).toBe(0)
    const moved = (await eventsOf('ShardsMoved')).slice(from)
    const gaps = moved.map(({ reason }) => Number(/to (\d+) ms$/.exec(reason)?.[1]))
    console.log(`shards were away for at most ${Math.max(...gaps)} ms`)
    expect(Math.max(...gaps)).toBeLessThan(3_000)
    expect(moved.every(({ reason }) => reason.startsWith('from broker-3, which is draining'))).toBe(
      true,
    )
    expect(await eventsOf('DrainDeadline')).toEqual([])
    const count = String(published)
    const output = await mosquittoSub(port(2), ...id, '-C', count, '-W', '20')
    expect(new Set(output.trim().split('\n')).size).toBe(published)

    expect((await cluster.robust('cluster', 'undrain', 'broker-3')).code).toBe(0)
    await expect.poll(() => owned('broker-3'), SLOW).toBeGreaterThan(15)
    await expect.poll(async () => (await knock(port(3))).reasonCode, SLOW).toBe(0)
  })

  test('one shard is moved to where it is asked to, and stays there', async () => {
    const stdout = async (...args: string[]) => {
      const { stdout: text } = await cluster.robust('cluster', ...args, '-o', 'json')
      return JSON.parse(text)
    }
    const { to: first } = await stdout('move-shard', '7')
    const to = first === 'broker-1' ? 'broker-2' : 'broker-1'
    expect(await stdout('move-shard', '7', '--to', to)).toEqual({ shard: 7, from: first, to })
    const again = await cluster.robust('cluster', 'move-shard', '7', '--to', to)
    expect(again.code).toBe(1)
    expect(again.stderr).toContain(`${to} owns shard 7 already`)
    const nowhere = await cluster.robust('cluster', 'move-shard', '7', '--to', 'broker-9')
    expect(nowhere.stderr).toContain('broker-9 is not a member')
    expect((await cluster.robust('cluster', 'move-shard', '64')).stderr).toContain('has 64')
    expect((await cluster.robust('cluster', 'status')).code).toBe(0)
  })
})
