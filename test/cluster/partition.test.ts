// A Placement Center on three machines (network namespaces on a bridge) and brokers on a fourth: the leader is cut
// off by dropped packets, which no end of a connection notices by itself.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { credentials, Metadata } from '@grpc/grpc-js'
import { placement } from '@robust/proto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, type PlacementView } from '../support/center.ts'
import { runRobust } from '../support/cluster.ts'
import { type Client, connect } from '../support/mqtt-clients.ts'
import { Namespaces } from '../support/namespaces.ts'
import { killServers, startServer } from '../support/processes.ts'

const CENTER = ['pc1', 'pc2', 'pc3']
const obstacle = Namespaces.obstacle()
if (obstacle !== undefined) {
  const message = `partitions are not tested: ${obstacle}`
  if (process.env['CI'] === 'true') throw new Error(message)
  process.stderr.write(`[partition] SKIPPED, ${message}\n`)
}

/** Brokers that were taken for dead. */
function removed(address: string): Promise<string[]> {
  const client = new placement.PlacementClient(address, credentials.createInsecure())
  return new Promise<string[]>((resolve, reject) => {
    const options = { deadline: Date.now() + 5_000 }
    client.events({ after: 0, limit: 0 }, new Metadata(), options, (error, reply) => {
      const gone = reply?.events.filter(({ kind }) => kind === 'NodeRemoved')
      if (error) reject(error)
      else resolve(gone.map(({ subject }) => subject))
    })
  }).finally(() => client.close())
}

describe.skipIf(obstacle !== undefined)('a Placement Center on three machines', () => {
  const directory = mkdtempSync(join(tmpdir(), 'robust-machines-'))
  const open: Client[] = []
  let net: Namespaces

  const address = (machine: string): string => `${net.address(machine)}:1228`
  const robust = (...args: string[]) => runRobust(join(directory, 'home'), args)

  /** As the machine sees it. */
  async function view(machine: string): Promise<PlacementView> {
    const asked = ['--placement', address(machine), '-o', 'json']
    const { stdout } = await robust('placement', 'status', ...asked)
    return JSON.parse(stdout)
  }

  /** The machine that leads in the eyes of another. */
  async function leader(as: string): Promise<string> {
    let found = ''
    await eventually(async () => {
      found = (await view(as).catch(() => undefined))?.leader ?? ''
      return found !== ''
    })
    return found
  }

  beforeAll(async () => {
    net = new Namespaces([...CENTER, 'brokers'])
    const peers = CENTER.map((machine) => `${machine}=${address(machine)}`).join(',')
    for (const machine of CENTER) {
      const own = ['--node-id', machine, '--listen', address(machine), '--peers', peers]
      const data = ['--data', join(directory, machine), '--shards', '16']
      startServer(['placement', 'start', ...own, ...data], net.on(machine))
    }
    const host = net.address('brokers')
    const storage = `${host}:1778`
    const url = `leveldb:${join(directory, 'storage')}`
    startServer(['storage', 'start', '--url', url, '--listen', storage], net.on('brokers'))
    for (const number of [0, 1]) {
      const ports = { '--mqtt-port': 1883, '--ws-port': 8083, '--grpc-port': 9981 }
      const flags = Object.entries(ports).flatMap(([flag, port]) => [flag, String(port + number)])
      const own = ['--node-id', `broker-${number}`, '--data', join(directory, `broker-${number}`)]
      const cluster = ['--placement', address('pc1'), '--storage', `robust://${storage}`]
      const args = ['broker', 'start', '--host', host, ...flags, ...own, ...cluster]
      startServer(args, net.on('brokers'))
    }
    // Clients come from another machine here, and without a name.
    await eventually(async () => {
      const set = ['config', 'set', 'security.anonymous', 'always']
      return (await robust(...set, '--placement', address('pc1'))).code === 0
    })
    for (const number of [0, 1]) {
      await eventually(() =>
        client(1883 + number).then(
          () => true,
          () => false,
        ),
      )
    }
  })

  afterAll(async () => {
    await Promise.all(open.map((each) => each.end()))
    await killServers()
    net?.remove()
    rmSync(directory, { recursive: true, force: true })
  })

  async function client(port: number): Promise<Client> {
    const connected = await connect(port, { host: net.address('brokers') })
    open.push(connected)
    return connected
  }

  /** Publishes numbers at one broker that are received at the other. */
  async function stream(topic: string) {
    const subscriber = await client(1884)
    await subscriber.mqtt.subscribeAsync(topic, { qos: 1 })
    const publisher = await client(1883)
    const acknowledged: string[] = []
    let running = true
    const done = (async () => {
      for (let i = 0; running; i++) {
        await publisher.mqtt.publishAsync(topic, `${i}`, { qos: 1 })
        acknowledged.push(`${i}`)
      }
    })()
    // Seen by who awaits it in stop.
    done.catch(() => undefined)
    return {
      acknowledged,
      received: () => [...new Set(subscriber.texts())],
      stop: async () => {
        running = false
        await done
      },
    }
  }

  test.each(['both', 'in'] as const)(
    'goes on without a leader that is cut off (%s), and is whole again afterwards',
    async (direction) => {
      const publishing = await stream(`cut/${direction}`)
      await expect.poll(() => publishing.acknowledged.length).toBeGreaterThan(20)
      const lost = await leader('pc1')
      const others = CENTER.filter((machine) => machine !== lost)
      const [other = ''] = others
      const { term } = await view(other)
      const cutMs = performance.now()
      net.cut(lost, { from: [...others, 'brokers'], direction })
      const successor = async () => {
        const now = await view(other)
        return now.leader !== null && now.leader !== lost && now.term > term
      }
      await eventually(successor)
      process.stderr.write(
        `[partition] another leads after ${Math.round(performance.now() - cutMs)} ms\n`,
      )
      const acknowledged = publishing.acknowledged.length
      await expect.poll(() => publishing.acknowledged.length).toBeGreaterThan(acknowledged + 50)
      // The majority decides; the one that is cut off does not.
      const set = (as: string) =>
        robust('config', 'set', 'rebalance.reports', '7', '--placement', address(as))
      expect((await set(other)).code).toBe(0)
      expect((await set(lost)).code).not.toBe(0)
      net.heal(lost)
      await expect.poll(async () => (await view(lost)).health).toBe('healthy')
      await publishing.stop()
      await expect.poll(publishing.received).toEqual(publishing.acknowledged)
      expect(await removed(address(other))).toEqual([])
    },
  )
})
