// Groups of unmodified consumers while the broker that coordinates them is killed, and the next one drained: members
// go on without more than one rebalance, and nothing that was committed is lost.

import { type ChildProcess, spawn } from 'node:child_process'
import { Consumer } from '@platformatic/kafka'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'

const KCAT = '/usr/bin/kcat'
const PARTITIONS = 6

let cluster: TestCluster

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3', '--storage', 'memory:')
})

afterAll(() => cluster.purge())

function brokers(): string[] {
  return [1, 2, 3].map((node) => `127.0.0.1:${cluster.kafkaPort(node)}`)
}

const children: ChildProcess[] = []
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
})

/** A consumer of a group: what it has read, and how often it was given other partitions. */
function consume(groupId: string, topic: string, more: readonly string[] = []) {
  const settings = ['auto.offset.reset=earliest', 'auto.commit.interval.ms=200', ...more]
  const flags = settings.flatMap((setting) => ['-X', setting])
  const args = ['-b', brokers().join(','), ...flags, '-u', '-f', '%s\n', '-G', groupId, topic]
  const child = spawn(KCAT, args)
  children.push(child)
  const read: string[] = []
  let told = ''
  let rest = ''
  child.stdout.on('data', (chunk: Buffer) => {
    const lines = `${rest}${chunk}`.split('\n')
    rest = lines.pop() ?? ''
    read.push(...lines)
  })
  child.stderr.on('data', (chunk: Buffer) => {
    told += String(chunk)
  })
  return {
    read,
    assignments: () => told.split('assigned:').length - 1,
    /** What it said when it ended by itself; undefined: it goes on. */
    ended: () => (child.exitCode === null ? undefined : told.trim().split('\n').pop()),
    stop: () =>
      new Promise<void>((resolve) => {
        child.once('exit', () => resolve())
        child.kill('SIGTERM')
      }),
  }
}

/** `partition` -1: as kcat chooses. */
function produce(topic: string, lines: readonly string[], partition = -1): Promise<void> {
  return new Promise((resolve, reject) => {
    const flags = ['-X', 'enable.idempotence=true', '-p', String(partition)]
    const child = spawn(KCAT, ['-b', brokers().join(','), '-P', '-t', topic, ...flags])
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`kcat: ${code}`))))
    child.stdin.end(lines.join('\n'))
  })
}

/** The broker that coordinates the group, once it is another than that. */
async function coordinatorOf(groupId: string, other = ''): Promise<string> {
  let found = ''
  await expect
    .poll(
      async () => {
        const listed = await cluster.robust('group', 'list', '--filter', groupId, '-o', 'json')
        if (listed.code !== 0) return false
        found = JSON.parse(listed.stdout).items[0]?.node ?? ''
        return found !== '' && found !== other
      },
      { timeout: 30_000 },
    )
    .toBe(true)
  return found
}

function numbers(from: number, count: number): string[] {
  return Array.from({ length: count }, (_, at) => String(from + at))
}

/** A member of a group whose coordinator assigns partitions (KIP-848): what it has been given, and has read. */
async function newConsumer(groupId: string, topic: string) {
  const consumer = new Consumer({
    ...{ clientId: 'newer', groupId, groupProtocol: 'consumer', bootstrapBrokers: brokers() },
    ...{ retries: 50, retryDelay: 200 },
  })
  const stream = await consumer.consume({
    ...{ topics: [topic], mode: 'committed', fallbackMode: 'earliest', autocommit: 100 },
  })
  const read: string[] = []
  stream.on('data', ({ value }) => read.push(String(value)))
  stream.on('error', () => undefined)
  return {
    read,
    partitions: () => (consumer.assignments ?? []).flatMap(({ partitions }) => partitions),
    stop: () => consumer.close(true),
  }
}

test('a group whose coordinator assigns partitions shares them with a newcomer', {
  timeout: 60_000,
}, async () => {
  const topic = 'assigned'
  await cluster.robust('topic', 'create', topic, '--partitions', String(PARTITIONS))
  const described = async () =>
    JSON.parse((await cluster.robust('group', 'describe', 'newer', '-o', 'json')).stdout)
  const first = await newConsumer('newer', topic)
  await expect.poll(() => first.partitions().length, { timeout: 30_000 }).toBe(PARTITIONS)
  await produce(topic, numbers(0, 60))
  await expect.poll(() => new Set(first.read).size, { timeout: 30_000 }).toBe(60)
  const second = await newConsumer('newer', topic)
  await expect
    .poll(() => [first, second].map(({ partitions }) => partitions().length), { timeout: 30_000 })
    .toEqual([PARTITIONS / 2, PARTITIONS / 2])
  expect(new Set([first, second].flatMap(({ partitions }) => partitions())).size).toBe(PARTITIONS)
  await expect
    .poll(async () => (await described()).state, { timeout: 30_000, interval: 500 })
    .toBe('Stable')
  expect(await described()).toMatchObject({ type: 'consumer', protocol: 'uniform' })
  for (let partition = 0; partition < PARTITIONS; partition++) {
    await produce(topic, numbers(60 + partition * 10, 10), partition)
  }
  await expect
    .poll(() => new Set([first, second].flatMap(({ read }) => read)).size, { timeout: 30_000 })
    .toBe(120)
  expect(second.read.length).toBeGreaterThan(0)
  await Promise.all([first.stop(), second.stop()])
})

test('a coordinator is killed and the next is drained: one rebalance at most, no lost commit', {
  timeout: 90_000,
}, async () => {
  const topic = 'orders'
  await cluster.robust('topic', 'create', topic, '--partitions', String(PARTITIONS))
  const members = [1, 2, 3].map(() => consume('billing', topic))
  const read = () => new Set(members.flatMap((member) => member.read))
  await expect
    .poll(() => members.map(({ assignments }) => assignments() > 0), { timeout: 30_000 })
    .toEqual([true, true, true])
  await produce(topic, numbers(0, 300))
  await expect.poll(() => read().size, { timeout: 30_000 }).toBe(300)
  const before = members.map(({ assignments }) => assignments())

  const coordinator = await coordinatorOf('billing')
  const [, killed] = await Promise.all([
    produce(topic, numbers(300, 300)),
    cluster.robust('cluster', 'kill', coordinator),
  ])
  expect(killed.code).toBe(0)
  await produce(topic, numbers(600, 300))
  await expect.poll(() => read().size, { timeout: 40_000 }).toBe(900)
  const next = await coordinatorOf('billing', coordinator)
  // A member ends by itself when none of its connections is up: kcat does not wait for a broker to come back.
  expect((await cluster.robust('cluster', 'restart', coordinator)).code).toBe(0)
  const [drained] = await Promise.all([
    cluster.robust('cluster', 'drain', next),
    produce(topic, numbers(900, 300)),
  ])
  expect(drained.code).toBe(0)
  await expect.poll(() => read().size, { timeout: 40_000 }).toBe(1_200)
  expect(members.map(({ ended }) => ended())).toEqual([undefined, undefined, undefined])
  const after = members.map(({ assignments }, at) => assignments() - (before[at] ?? 0))
  expect(Math.max(...after)).toBeLessThanOrEqual(1)

  await Promise.all(members.map(({ stop }) => stop()))
  await produce(topic, numbers(1_200, 10))
  const later = consume('billing', topic)
  await expect.poll(() => later.read.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(10)
  await later.stop()
  expect([...later.read].sort()).toEqual(numbers(1_200, 10).sort())
})

test('robust group lists, describes with lag, seeks and deletes', { timeout: 60_000 }, async () => {
  const topic = 'counted'
  await cluster.robust('topic', 'create', topic, '--partitions', '1')
  await produce(topic, numbers(0, 5))
  const group = (...args: string[]) => cluster.robust('group', ...args, '-o', 'json')
  const described = async () => JSON.parse((await group('describe', 'readers')).stdout)
  const reader = consume('readers', topic)
  await expect
    .poll(async () => (await described()).offsets, { timeout: 30_000 })
    .toMatchObject([{ topic, offset: 5, endOffset: 5, lag: 0, member: { clientId: 'rdkafka' } }])
  const listed = JSON.parse((await group('list', '--filter', 'readers')).stdout)
  expect(listed.items).toMatchObject([{ name: 'readers', type: 'classic', state: 'Stable' }])
  const refused = await group('seek', 'readers', '--topic', topic, '--to', 'earliest')
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('has members') })
  await reader.stop()
  await produce(topic, numbers(5, 5))
  expect(await described()).toMatchObject({ state: 'Empty', offsets: [{ lag: 5 }] })

  expect((await group('seek', 'readers', '--topic', topic, '--to', '8')).code).toBe(0)
  const again = consume('readers', topic)
  await expect.poll(() => again.read, { timeout: 30_000 }).toEqual(['8', '9'])
  await again.stop()
  expect((await group('delete', 'readers')).code).toBe(0)
  expect(await group('describe', 'readers')).toMatchObject({
    ...{ code: 66, stderr: expect.stringContaining('NO_SUCH_GROUP') },
  })
})
