// The Placement Center's own nodes are replaced, handed over and lost, as processes, under load of clients.
import { rmSync } from 'node:fs'
import { credentials, Metadata } from '@grpc/grpc-js'
import { placement } from '@robust/proto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HandMade } from '../support/center.ts'
import { type Client, connect } from '../support/mqtt-clients.ts'

const DURABLE = { clean: false, properties: { sessionExpiryInterval: 3600 } }
const TRANSFER_MS_MAX = 2_500

let made: HandMade
const open: Client[] = []

beforeAll(async () => {
  made = new HandMade(['--shards', '16'])
  for (const number of [1, 2, 3]) made.startPlacement(number, 3)
  await made.startStorage()
  // Each knows another one of them, and only that.
  await Promise.all([1, 2, 3].map((number) => made.startBroker(number, [number])))
})

afterAll(async () => {
  await Promise.all(open.map((client) => client.end()))
  await made.purge()
})

function events(at: number): Promise<placement.DecisionEvent[]> {
  const address = made.placementAddress(at)
  const client = new placement.PlacementClient(address, credentials.createInsecure())
  return new Promise<placement.DecisionEvent[]>((resolve, reject) => {
    const options = { deadline: Date.now() + 5_000 }
    client.events({ after: 0, limit: 0 }, new Metadata(), options, (error, reply) => {
      if (error) reject(error)
      else resolve(reply.events)
    })
  }).finally(() => client.close())
}

/** Publishes numbers one after the other until stopped; tells which were acknowledged. */
function stream(publisher: Client, topic: string) {
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
    stop: async () => {
      running = false
      await done
    },
  }
}

/** Whether the session is there and gets what is published; false while the broker is still changing sides. */
async function isServed(port: number): Promise<boolean> {
  const client = await connect(port, { clientId: 'sleeper', ...DURABLE }).catch(() => undefined)
  if (client === undefined) return false
  open.push(client)
  expect(client.connack.sessionPresent).toBe(true)
  client.mqtt.publish('load', 'after the restore', { qos: 1 })
  const closed = new Promise<void>((resolve) => client.mqtt.once('close', () => resolve()))
  const received = new Promise<void>((resolve) => {
    client.mqtt.on('message', (_topic, payload) => {
      if (payload.toString() === 'after the restore') resolve()
    })
  })
  await Promise.race([closed, received])
  return client.texts().includes('after the restore')
}

describe('the nodes of a Placement Center', () => {
  test('the leadership is handed over within 2.5 s', async () => {
    const leader = await made.leader(1)
    for (const other of ['placement-1', 'placement-2', 'placement-3', leader]) {
      const beganMs = performance.now()
      const said = JSON.parse(await made.placement(1, 'transfer', other, '-o', 'json'))
      expect(said.leader).toBe(other)
      expect(said.tookMs).toBeLessThanOrEqual(TRANSFER_MS_MAX)
      expect(await made.leader(1)).toBe(other)
      process.stderr.write(
        `[members] to ${other}: ${said.tookMs} ms, ${Math.round(performance.now() - beganMs)} with the command\n`,
      )
    }
    const refused = await made.robust(
      ...['placement', 'transfer', 'placement-9', '--placement', made.placementAddress(1)],
    )
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('placement-9 is not a member')
  })

  test('all initial ones are replaced while brokers serve; nothing acknowledged is lost', async () => {
    const sleeper = await connect(made.mqttPort(2), { clientId: 'sleeper', ...DURABLE })
    await sleeper.mqtt.subscribeAsync('load', { qos: 1 })
    await sleeper.end()
    const publisher = await connect(made.mqttPort(1))
    open.push(publisher)
    const publishing = stream(publisher, 'load')
    await expect.poll(() => publishing.acknowledged.length).toBeGreaterThan(20)
    for (const [before, after] of [
      [1, 4],
      [2, 5],
      [3, 6],
    ] as const) {
      made.joinPlacement(after, [before])
      await made.placement(before, 'add', `placement-${after}=${made.placementAddress(after)}`)
      await made.placement(after, 'remove', `placement-${before}`)
      made.servers.get(`placement-${before}`)?.signal('SIGTERM')
      expect(await made.servers.get(`placement-${before}`)?.ended).toBe(0)
      const acknowledged = publishing.acknowledged.length
      await expect.poll(() => publishing.acknowledged.length).toBeGreaterThan(acknowledged + 20)
    }
    await expect.poll(async () => (await made.view(4))?.health).toBe('healthy')
    const names = (await made.view(5))?.members.map(({ node, votes }) => [node, votes])
    expect(names?.toSorted()).toEqual([
      ['placement-4', true],
      ['placement-5', true],
      ['placement-6', true],
    ])
    // One more change of leaders, which brokers have never been told of by their flags.
    await made.placement(6, 'transfer')
    await made.leader(4)
    await made.startBroker(4, [5])
    await publishing.stop()
    const kinds = (await events(4)).filter(({ subject }) => subject.startsWith('broker-'))
    expect(kinds.filter(({ kind }) => kind === 'NodeRemoved')).toEqual([])
    expect(kinds.filter(({ kind }) => kind === 'NodeRegistered')).toHaveLength(4)
    const awake = await connect(made.mqttPort(4), { clientId: 'sleeper', ...DURABLE })
    open.push(awake)
    expect(awake.connack.sessionPresent).toBe(true)
    await expect.poll(() => [...new Set(awake.texts())]).toEqual(publishing.acknowledged)
  })

  test('one that lost its disk is refused under its id, and comes back under a new one', async () => {
    const leader = await made.leader(4)
    const number = [4, 5, 6].find((each) => `placement-${each}` !== leader) ?? 4
    const other = [4, 5, 6].find((each) => each !== number) ?? 5
    const name = `placement-${number}`
    await made.servers.get(name)?.kill()
    rmSync(made.folder(name), { recursive: true })
    const wiped = made.joinPlacement(number, [other])
    expect(await wiped.ended).toBe(78)
    expect(wiped.output()).toContain(`error[WRONG_DATA_FOLDER] ${name}`)
    expect(wiped.output()).toContain(`robust placement remove ${name}`)
    expect((await made.view(other))?.health).toBe('degraded')
    made.joinPlacement(7, [other])
    await made.placement(other, 'add', `placement-7=${made.placementAddress(7)}`)
    await made.placement(other, 'remove', name)
    await expect.poll(async () => (await made.view(7))?.health).toBe('healthy')
  })

  test('one with the folder of another node is refused, with both ids', async () => {
    const leader = await made.leader(7)
    const number = [4, 5, 6, 7].find(
      (each) => made.servers.get(`placement-${each}`) && `placement-${each}` !== leader,
    )
    const folder = made.folder(`placement-${number}`)
    const wrong = ['--listen', '127.0.0.1:0', '--data', folder]
    for (const [flags, ids] of [
      [
        ['--node-id', 'placement-9'],
        [`placement-${number}`, 'placement-9'],
      ],
      [
        ['--cluster-id', 'other'],
        ['cluster robust', 'cluster other'],
      ],
    ] as const) {
      const ran = await made.robust('placement', 'start', ...wrong, ...flags)
      expect(ran.code).toBe(78)
      for (const id of ids) expect(ran.stderr).toContain(id)
      expect(ran.stderr).toContain('another --data folder')
    }
  })

  test('each takes a snapshot when asked, and a backup has a checksum', async () => {
    const leader = await made.leader(7)
    const taken = JSON.parse(
      await made.placement(Number(leader.split('-')[1]), 'snapshot', '-o', 'json'),
    )
    expect(taken).toHaveLength(3)
    for (const { index, bytes } of taken) {
      expect(index).toBeGreaterThan(0)
      expect(bytes).toBeGreaterThan(0)
    }
    const file = made.folder('backup')
    await made.placement(7, 'snapshot', '--out', file)
    const where = ['--placement', made.placementAddress(7), '--out', `${file}/x`]
    const refused = await made.robust('placement', 'snapshot', ...where)
    expect(refused.code).toBe(73)
    expect(refused.stderr).toContain('error[CANNOT_WRITE]')
  })

  test('all are lost, and a backup begins a new cluster that brokers join by themselves', async () => {
    const registrations = async (at: number) =>
      (await events(at)).filter(
        ({ kind, subject }) => kind === 'NodeRegistered' && subject === 'broker-1',
      ).length
    const before = await registrations(7)
    const file = made.folder('backup')
    const { index } = JSON.parse(await made.placement(7, 'snapshot', '--out', file, '-o', 'json'))
    expect(index).toBeGreaterThan(0)
    for (const [name, server] of made.servers) {
      if (name.startsWith('placement-')) await server.kill()
    }
    // Where broker-1 was told to look when it began.
    made.restorePlacement(8, 1, file)
    await expect.poll(async () => (await made.view(1))?.health).toBe('healthy')
    // A broker that registers anew closes the connections of its time before.
    await expect.poll(() => registrations(1)).toBeGreaterThan(before)
    await expect.poll(() => isServed(made.mqttPort(1))).toBe(true)
  })
})
