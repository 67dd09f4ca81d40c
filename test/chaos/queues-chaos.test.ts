// Many senders and receivers at random brokers, while one broker after the other is killed or paused.
import { setTimeout as pause } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { QueueBroker, type QueueMessage } from '../support/queue-clients.ts'

const QUEUES = ['free-1', 'free-2', 'ordered-1', 'ordered-2']
const CLIENTS = [1, 2, 3, 4]
const RETRY_MS = 50
/** A broker that is paused does not answer. */
const DEADLINE_MS = 2_000
const UNKNOWN: readonly unknown[] = [
  status.UNAVAILABLE,
  status.INTERNAL,
  status.DEADLINE_EXCEEDED,
  status.CANCELLED,
]

let cluster: TestCluster
let brokers: readonly QueueBroker[]
/** Of what was answered as stored: when it may be received, ms; 0 at once. */
const sent = new Map<string, number>()
const acknowledged = new Map<string, number>()
const early: string[] = []
let seen = ''
const outOfOrder: string[] = []
let isOver = false

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3', '--placement', '1')
  brokers = [1, 2, 3].map((node) => new QueueBroker(cluster, node, DEADLINE_MS))
})

afterAll(async () => {
  for (const broker of brokers) broker.close()
  await cluster.purge()
})

const anyOf = <T>(all: readonly T[]): T => all[Math.floor(Math.random() * all.length)] as T

/** At one broker after the other, until it is known what has come of it. */
async function insist<T>(run: (broker: QueueBroker) => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await run(anyOf(brokers))
    } catch (error) {
      if (!UNKNOWN.includes((error as { code?: unknown }).code)) throw error
      await pause(RETRY_MS)
    }
  }
}

async function sending(client: number): Promise<void> {
  for (let count = 0; !isOver; count++) {
    const queue = anyOf(QUEUES)
    const text = `${queue}/${client}/${String(count).padStart(6, '0')}`
    const dueAtMs = Math.random() < 0.2 ? Date.now() + Math.floor(Math.random() * 5_000) : 0
    const headers =
      dueAtMs > 0 ? { 'deliver-at': String(dueAtMs) } : { group: `${queue}/${client}` }
    await insist((broker) => broker.send(queue, [text], { 'deduplication-id': text, ...headers }))
    sent.set(text, dueAtMs)
  }
}

/** The newest one of each group that was acknowledged. */
const newest = new Map<string, string>()

function note({ text, headers }: QueueMessage): void {
  seen = text
  if (Number(headers['deliver-at'] ?? 0) > Date.now()) early.push(text)
  const { group } = headers
  if (!text.startsWith('ordered') || group === undefined) return
  if ((newest.get(group) ?? '') > text) outOfOrder.push(text)
}

async function receiving(): Promise<void> {
  while (!isOver || acknowledged.size < sent.size) {
    const queue = anyOf(QUEUES)
    const messages = await anyOf(brokers)
      .receive(queue, { waitMs: 300, max: 5 })
      .catch(() => pause(RETRY_MS, []))
    if (messages.length === 0) continue
    for (const message of messages) note(message)
    const outcomes = await insist((broker) => broker.acknowledge(queue, messages))
    for (const [at, { text, headers }] of messages.entries()) {
      // Gone: done by a try before whose answer was lost.
      if (outcomes[at] !== 'done' && outcomes[at] !== 'gone') continue
      acknowledged.set(text, (acknowledged.get(text) ?? 0) + (outcomes[at] === 'done' ? 1 : 0))
      if (headers['group'] !== undefined) newest.set(headers['group'], text)
    }
  }
}

test('nothing that was stored is lost, early, twice or out of order', async () => {
  for (const name of QUEUES) {
    const order = name.startsWith('ordered') ? 'group' : 'none'
    await insist((broker) =>
      broker.create(name, { 'lease-ms': 5_000, 'deduplication-ms': 600_000, order }),
    )
  }
  const work = [...CLIENTS.map(sending), ...CLIENTS.map(receiving)]
  for (const [node, fault, mend] of [
    ['broker-1', 'kill', 'restart'],
    ['broker-2', 'pause', 'resume'],
    ['broker-3', 'kill', 'restart'],
  ] as const) {
    const grows = async (): Promise<void> => {
      const then = acknowledged.size
      await expect.poll(() => acknowledged.size, { timeout: 60_000 }).toBeGreaterThan(then + 150)
    }
    await grows()
    await cluster.robust('cluster', fault, node)
    await grows()
    await cluster.robust('cluster', mend, node)
  }
  isOver = true
  await Promise.all(work)
  expect(seen).not.toBe('')
  expect([...sent.keys()].filter((text) => !acknowledged.has(text))).toEqual([])
  expect([...acknowledged].filter(([, count]) => count > 1)).toEqual([])
  expect(early).toEqual([])
  expect(outOfOrder).toEqual([])
  for (const name of QUEUES) {
    const { counts } = await insist((broker) => broker.describe(name))
    expect(counts).toMatchObject({ ready: 0, inFlight: 0, delayed: 0, bytes: 0 })
  }
})
