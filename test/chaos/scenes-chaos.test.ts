// The scenes of the design, one after the other on one cluster, each with its timeline: what was done to the cluster,
// what the Placement Center decided, and what clients saw of it.
import {
  CreateQueueCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs'
import { shardOf } from '@robust/broker'
import { Kafka, logLevel, Partitioners } from 'kafkajs'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { type Client, connect } from '../support/mqtt-clients.ts'
import { Timeline } from '../support/timeline.ts'

const LEASE_MS = 3_000
const CENTER = ['placement-1', 'placement-2', 'placement-3']
const SHARDS = 64
const SOON = { timeout: 30_000, interval: 100 }

let cluster: TestCluster
let timeline: Timeline
const open: Client[] = []

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3', '--breakable')
})

afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.end()))
  await timeline.tell(cluster)
  // The next scene begins with a whole cluster.
  await cluster.robust('cluster', 'heal')
  await expect.poll(async () => (await cluster.status()).health, SOON).toBe('healthy')
})

afterAll(() => cluster.purge())

function placementAddress(node: number): string {
  return `127.0.0.1:${1228 + 100 * (node - 1) + cluster.offset}`
}

function scene(name: string, play: () => Promise<void>): void {
  test(name, async () => {
    timeline = new Timeline(name)
    await play()
  })
}

async function client(node: number, options: Parameters<typeof connect>[1] = {}): Promise<Client> {
  const connected = await connect(cluster.mqttPort(node), options)
  open.push(connected)
  return connected
}

async function act(what: string, ...args: string[]): Promise<void> {
  timeline.note('test', what)
  const { code, stderr } = await cluster.robust('cluster', ...args)
  expect(stderr.replaceAll(/^warning.*\n/gm, '')).toBe('')
  expect(code).toBe(0)
}

async function decided(kind: string, subject: string, count = 1): Promise<void> {
  const found = async () =>
    (await cluster.events('--limit', '0')).filter(
      (event) => event.kind === kind && event.subject === subject,
    ).length
  await expect.poll(found, SOON).toBeGreaterThanOrEqual(count)
}

async function count(kind: string, subject: string): Promise<number> {
  const events = await cluster.events('--limit', '0')
  return events.filter((event) => event.kind === kind && event.subject === subject).length
}

/** Of a counter of a broker. */
async function metric(node: number, name: string): Promise<number> {
  const url = `http://127.0.0.1:${8080 + 100 * (node - 1) + cluster.offset}/metrics`
  const text = await (await fetch(url)).text()
  return Number(new RegExp(`^robust_${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
}

describe('membership', () => {
  scene(
    'a broker falls silent: it is removed by its heartbeat time-out, and joins again',
    async () => {
      const gone = await count('NodeRemoved', 'broker-3')
      await act('broker-3 is frozen', 'pause', 'broker-3')
      await decided('NodeRemoved', 'broker-3', gone + 1)
      timeline.note('client', 'broker-3 is known to be removed')
      expect(timeline.between('broker-3 is frozen', 'broker-3 is known')).toBeGreaterThan(
        LEASE_MS - 500,
      )
      const granted = (await cluster.events('--limit', '0')).filter(
        ({ kind, reason }) => kind === 'NodeRemoved' && reason.includes('no heartbeat for'),
      )
      expect(granted.at(-1)?.shards.length).toBeGreaterThan(0)
      const joined = await count('NodeRegistered', 'broker-3')
      await act('broker-3 goes on', 'resume', 'broker-3')
      await decided('NodeRegistered', 'broker-3', joined + 1)
      const owned = async () =>
        (await cluster.status()).nodes.find(({ name }) => name === 'broker-3')?.shards?.owned ?? 0
      await expect.poll(owned, SOON).toBeGreaterThan(0)
    },
  )
})

describe('migration', () => {
  scene(
    'the sessions of a killed broker go on at others, with all that was acknowledged',
    async () => {
      const durable = { clean: false, properties: { sessionExpiryInterval: 600 } }
      const names = Array.from({ length: 6 }, (_, at) => `moved-${at}`)
      for (const clientId of names) {
        const first = await connect(cluster.mqttPort(2), { clientId, ...durable })
        await first.mqtt.subscribeAsync('scene/sessions', { qos: 1 })
        await first.end()
      }
      const publisher = await client(1)
      const sent: string[] = []
      const publish = async (text: string) => {
        await publisher.mqtt.publishAsync('scene/sessions', text, { qos: 1 })
        sent.push(text)
      }
      await publish('before')
      await act('broker-2 is killed', 'kill', 'broker-2')
      await publish('while its shards have no owner')
      timeline.note('client', 'a message is acknowledged again')
      await publish('after')
      for (const clientId of names) {
        const awake = await client(3, { clientId, ...durable })
        expect(awake.connack.sessionPresent).toBe(true)
        await expect.poll(() => [...new Set(awake.texts())], SOON).toEqual(sent)
      }
      timeline.note('client', 'every session has every message')
      await act('broker-2 is started', 'restart', 'broker-2')
    },
  )

  scene('delayed messages of killed brokers come once, and not early', async () => {
    const delays = [4, 5, 6, 7]
    const subscriber = await client(3)
    await subscriber.mqtt.subscribeAsync('scene/delayed/#', { qos: 1 })
    const publisher = await client(3)
    const sentAtMs = Date.now()
    for (const seconds of delays) {
      const topic = `$delayed/${seconds}/scene/delayed/${seconds}`
      await publisher.mqtt.publishAsync(topic, String(seconds), { qos: 1 })
    }
    const cameAtMs = new Map<string, number>()
    subscriber.mqtt.on('message', (_, payload) => {
      timeline.note('client', `what was delayed by ${payload} s comes`)
      cameAtMs.set(String(payload), Date.now() - sentAtMs)
    })
    await act('broker-1 is killed', 'kill', 'broker-1')
    await act('broker-2 is killed', 'kill', 'broker-2')
    await expect.poll(() => subscriber.texts().sort(), SOON).toEqual(delays.map(String))
    for (const seconds of delays) {
      expect(cameAtMs.get(String(seconds))).toBeGreaterThanOrEqual(seconds * 1_000 - 20)
    }
    await act('broker-1 is started', 'restart', 'broker-1')
    await act('broker-2 is started', 'restart', 'broker-2')
    expect(subscriber.texts()).toHaveLength(delays.length)
  })

  scene(
    'messages of a queue in flight: receipts of a dead broker hold, leases end in time',
    async () => {
      const sqs = (node: number) =>
        new SQSClient({
          ...{ region: 'local', endpoint: `http://127.0.0.1:${cluster.sqsPort(node)}` },
          credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
        })
      const [first, second] = [sqs(2), sqs(3)]
      const { QueueUrl } = await first.send(new CreateQueueCommand({ QueueName: 'scene-flight' }))
      for (const MessageBody of ['kept', 'given back']) {
        await first.send(new SendMessageCommand({ QueueUrl, MessageBody }))
      }
      const taken: Message[] = []
      const lease = { QueueUrl, VisibilityTimeout: 12, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 }
      await expect
        .poll(async () => {
          const { Messages = [] } = await first.send(new ReceiveMessageCommand(lease))
          taken.push(...Messages)
          return taken.map(({ Body }) => Body).sort()
        }, SOON)
        .toEqual(['given back', 'kept'])
      timeline.note('client', 'two messages are in flight, for 12 s')
      await act('broker-2 is killed', 'kill', 'broker-2')
      const kept = taken.find(({ Body }) => Body === 'kept')
      const receipt = { QueueUrl, ReceiptHandle: kept?.ReceiptHandle ?? '' }
      await second.send(new DeleteMessageCommand(receipt))
      timeline.note('client', 'broker-3 takes a receipt of broker-2')
      const wait = { QueueUrl, WaitTimeSeconds: 20, MaxNumberOfMessages: 10 }
      const { Messages = [] } = await second.send(new ReceiveMessageCommand(wait))
      timeline.note('client', `${Messages.map(({ Body }) => Body)} comes again`)
      expect(Messages.map(({ Body }) => Body)).toEqual(['given back'])
      expect(timeline.between('two messages', 'given back')).toBeGreaterThan(11_000)
      const AttributeNames = ['ApproximateNumberOfMessages' as const]
      const { Attributes } = await second.send(
        new GetQueueAttributesCommand({ QueueUrl, AttributeNames }),
      )
      expect(Attributes).toEqual({ ApproximateNumberOfMessages: '0' })
      for (const each of [first, second]) each.destroy()
      await act('broker-2 is started', 'restart', 'broker-2')
    },
  )

  scene('a Kafka group and an open transaction go on when their coordinators die', async () => {
    const topic = 'scene-orders'
    await cluster.robust('topic', 'create', topic, '--partitions', '3')
    const kafka = new Kafka({
      brokers: [1, 2, 3].map((node) => `127.0.0.1:${cluster.kafkaPort(node)}`),
      ...{ logLevel: logLevel.NOTHING, connectionTimeout: 1_000, requestTimeout: 3_000 },
      retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 100 },
    })
    const consumer = kafka.consumer({ groupId: 'scene-group', sessionTimeout: 10_000 })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    const read: string[] = []
    await consumer.run({
      eachMessage: async ({ message }) => {
        read.push(String(message.value))
      },
    })
    const producer = kafka.producer({
      ...{ transactionalId: 'scene-transaction', idempotent: true, maxInFlightRequests: 1 },
      createPartitioner: Partitioners.DefaultPartitioner,
    })
    await producer.connect()
    const send = (transaction: Pick<typeof producer, 'send'>, value: string) =>
      transaction.send({ topic, acks: -1, messages: [{ partition: 0, value }] })
    const before = await producer.transaction()
    await send(before, 'before')
    await before.commit()
    await expect.poll(() => read, SOON).toEqual(['before'])
    const transaction = await producer.transaction()
    await send(transaction, 'in the open transaction')
    const listed = JSON.parse((await cluster.robust('group', 'list', '-o', 'json')).stdout)
    const group = listed.items.find(({ name }: { name: string }) => name === 'scene-group')
    await act(`${group.node}, which coordinates the group, is killed`, 'kill', group.node)
    await transaction.commit()
    timeline.note('client', 'the transaction is committed')
    await expect
      .poll(() => new Set(read), SOON)
      .toEqual(new Set(['before', 'in the open transaction']))
    timeline.note('client', 'the group reads what was committed')
    await Promise.all([producer.disconnect(), consumer.disconnect()])
    await act(`${group.node} is started`, 'restart', group.node)
  })
})

describe('the Placement Center', () => {
  async function restartCenter(): Promise<void> {
    for (const node of CENTER) await act(`${node} is killed`, 'kill', node)
    for (const node of CENTER) await act(`${node} is started`, 'restart', node)
    await expect.poll(async () => (await cluster.status()).placement.leader, SOON).not.toBe(null)
  }

  scene(
    'a broker that missed changes gets just those; after a loss of history it loads everything',
    async () => {
      const [loads, changes] = [
        await metric(2, 'metadata_loads_total'),
        await metric(2, 'metadata_changes_total'),
      ]
      await act(
        'broker-2 is cut off from the Placement Center',
        'partition',
        'broker-2',
        '--from',
        CENTER.join(','),
        '--for',
        '1500ms',
      )
      for (const name of ['missed-1', 'missed-2', 'missed-3']) {
        await cluster.robust('topic', 'create', name)
      }
      timeline.note('test', 'three topics are made meanwhile')
      await expect
        .poll(() => metric(2, 'metadata_changes_total'), SOON)
        .toBeGreaterThanOrEqual(changes + 3)
      timeline.note('client', 'broker-2 has the changes that it missed')
      expect(await metric(2, 'metadata_loads_total')).toBe(loads)

      await act('broker-2 is cut off again', 'partition', 'broker-2', '--from', CENTER.join(','))
      // What was on its way arrives late, unless the connection ends with one of its ends.
      await restartCenter()
      expect((await cluster.robust('topic', 'create', 'missed-4')).code).toBe(0)
      timeline.note('test', 'a topic is made, and the Placement Center forgets how')
      expect((await cluster.robust('placement', 'snapshot')).code).toBe(0)
      await restartCenter()
      await act('broker-2 is no longer cut off', 'heal')
      await expect.poll(() => metric(2, 'metadata_loads_total'), SOON).toBe(loads + 1)
      timeline.note('client', 'broker-2 has loaded everything')
    },
  )

  scene('brokers serve while it is away', async () => {
    const subscriber = await client(2)
    await subscriber.mqtt.subscribeAsync('scene/away', { qos: 1 })
    const publisher = await client(1)
    const { nodes } = await cluster.status()
    const pids = nodes.flatMap(({ role, pid }) =>
      role === 'placement' && pid !== null ? [pid] : [],
    )
    expect(pids).toHaveLength(CENTER.length)
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    timeline.note('test', 'all of it is frozen')
    let [sent, acknowledged] = [0, 0]
    const untilMs = Date.now() + LEASE_MS
    const publishing = (async () => {
      while (Date.now() < untilMs) {
        await publisher.mqtt.publishAsync('scene/away', String(sent++), { qos: 1 })
        if (Date.now() < untilMs) acknowledged++
      }
    })()
    await new Promise((resolve) => setTimeout(resolve, LEASE_MS))
    timeline.note('client', `${acknowledged} messages were acknowledged within three seconds`)
    for (const pid of pids) process.kill(pid, 'SIGCONT')
    timeline.note('test', 'it goes on')
    await publishing
    await expect.poll(() => new Set(subscriber.texts()).size, SOON).toBe(sent)
    timeline.note('client', 'all of them have arrived')
    expect(acknowledged).toBeGreaterThan(100)
  })

  scene('two leaders are believed in at once: only the one with a majority decides', async () => {
    const { placement } = await cluster.status()
    const old = placement.leader ?? ''
    const number = Number(old.split('-')[1])
    const [other = 0] = [1, 2, 3].filter((node) => node !== number)
    const seen = async (node: number): Promise<{ leader: string | null; term: number }> => {
      const args = ['--placement', placementAddress(node), '-o', 'json']
      return JSON.parse((await cluster.robust('placement', 'status', ...args)).stdout)
    }
    const events = async (kind: string) =>
      (await cluster.events('--limit', '0')).filter((event) => event.kind === kind).length
    const removed = await events('NodeRemoved')
    await act(`${old}, the leader, hears and sends nothing`, 'partition', old)
    await expect.poll(async () => (await seen(other)).leader, SOON).not.toBeOneOf([old, null])
    const next = await seen(other)
    timeline.note(
      'client',
      `${next.leader} leads in term ${next.term} for those that hear each other`,
    )
    expect(next.term).toBeGreaterThan(placement.term)
    const set = (node: number) =>
      cluster.robust(
        'config',
        'set',
        'rebalance.reports',
        '9',
        '--placement',
        placementAddress(node),
      )
    expect((await set(number)).code).not.toBe(0)
    timeline.note('client', `${old} decides nothing`)
    expect((await set(other)).code).toBe(0)
    timeline.note('client', `${next.leader} does`)
    await act('the links are whole again', 'heal')
    await expect
      .poll(async () => (await seen(number)).leader, SOON)
      .toBe((await seen(other)).leader)
    expect(await events('NodeRemoved')).toBe(removed)
  })
})

describe('decisions by what brokers report', () => {
  async function set(settings: Readonly<Record<string, number>>): Promise<void> {
    for (const [name, value] of Object.entries(settings)) {
      expect((await cluster.robust('config', 'set', name, String(value))).code).toBe(0)
      timeline.note('test', `${name} is ${value}`)
    }
  }

  const unset = async (...names: string[]) => {
    for (const name of names) await cluster.robust('config', 'unset', name)
  }

  scene('an overloaded broker sends clients to others until it is relieved', async () => {
    await set({ 'overload.after-ms': 500, 'overload.shed-interval-ms': 2_000 })
    await set({ 'overload.shed-percent': 30, 'overload.connections': 12 })
    const crowd = await Promise.all(Array.from({ length: 20 }, () => client(2)))
    for (const { mqtt } of crowd) {
      mqtt.on('disconnect', ({ properties }) =>
        timeline.note('client', `one is told to use ${properties?.serverReference}`),
      )
    }
    timeline.note('test', '20 clients connect to broker-2')
    await decided('BrokerOverloaded', 'broker-2')
    await decided('ClientsShed', 'broker-2')
    const left = () => crowd.filter(({ mqtt }) => mqtt.connected).length
    await expect.poll(left, SOON).toBeLessThanOrEqual(12)
    await Promise.all(crowd.map((each) => each.end()))
    timeline.note('test', 'the others leave, too')
    await decided('BrokerRelieved', 'broker-2')
    await unset('overload.after-ms', 'overload.shed-interval-ms')
    await unset('overload.shed-percent', 'overload.connections')
  })

  scene('a hot broker loses shards to the others', async () => {
    await set({ 'rebalance.band-percent': 20, 'rebalance.messages-min': 20 })
    await set({ 'rebalance.reports': 2 })
    const publisher = await client(1)
    const topics = await topicsOf('broker-1')
    timeline.note('test', `retained messages on ${topics.length} shards, all of broker-1`)
    let isRunning = true
    const load = Array.from({ length: 32 }, async (_, worker) => {
      for (let i = worker; isRunning; i++) {
        const topic = topics[i % topics.length] as string
        await publisher.mqtt.publishAsync(topic, String(i), { qos: 1, retain: true })
      }
    })
    await decided('BrokerHot', 'broker-1')
    const forLoad = async () =>
      (await cluster.events('--limit', '0')).filter(
        ({ kind, reason }) => kind === 'ShardsMoved' && reason.includes('for load'),
      ).length
    await expect.poll(forLoad, SOON).toBeGreaterThanOrEqual(2)
    isRunning = false
    await Promise.all(load)
    await unset('rebalance.band-percent', 'rebalance.messages-min', 'rebalance.reports')
  })

  /** One topic for each shard of the broker, by the hash that retained messages are kept by. */
  async function topicsOf(name: string): Promise<string[]> {
    const owners = new Map<number, string>()
    for (const { kind, subject, shards } of await cluster.events('--limit', '0')) {
      if (!['ShardsGranted', 'ShardsOpened'].includes(kind)) continue
      for (const each of shards) owners.set(each, subject)
    }
    const topics = new Map<number, string>()
    for (let i = 0; i < 5_000; i++) {
      const shard = shardOf('retained', `scene/${i}`, SHARDS)
      if (owners.get(shard) === name && !topics.has(shard)) topics.set(shard, `scene/${i}`)
    }
    return [...topics.values()]
  }
})
