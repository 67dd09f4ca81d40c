/** Kafka: idempotent producers that wait for every record; a group that reads along, and one that reads all at the end. */
import {
  type Consumer,
  Kafka,
  type KafkaConfig,
  logLevel,
  Partitioners,
  type Producer,
} from 'kafkajs'
import { duplicatesIn, inconsistentOffsets, misplaced, nonMonotonic } from '../checkers/logs.ts'
import type { Finding, Verdict } from '../checkers/verdict.ts'
import type { HostPort } from '../control.ts'
import type { Read, Send } from '../history.ts'
import { leavingSilent } from './silent-brokers.ts'
import { allServed, pause, Sender, type StartWorkload, untilQuiet, within } from './workload.ts'

export const PARTITIONS = 6
const READERS = 2
const STOP_MS = 30_000

export const kafka: StartWorkload = async ({ endpoints, run, clients }) => {
  const topic = `chaos-${run}`
  const client = kafkaClient(endpoints.kafka, run)
  await createTopic(client, topic)
  const reads: Read[] = []
  const readers = await Promise.all(
    Array.from({ length: READERS }, (_, at) =>
      read(client, { topic, group: `chaos-${run}`, name: `reader-${at + 1}`, reads }),
    ),
  )
  const ids = Array.from({ length: clients }, (_, at) => `${run}-kafka-${at + 1}`)
  const sending = kafkaClient(endpoints.kafka, run, leavingSilent())
  const producers = await Promise.all(ids.map(() => connected(sending)))
  const senders = producers.map(
    (producer, at) =>
      new Sender(ids[at] as string, async (value) => {
        await producer.send({ topic, acks: -1, messages: [{ key: ids[at] as string, value }] })
        return 'ok'
      }),
  )
  await allServed(senders)
  return {
    clients: ids,
    get sends() {
      return senders.flatMap(({ sends }) => sends)
    },
    finish: async () => {
      const stopped = await Promise.all(senders.map((sender) => sender.stop(STOP_MS)))
      const sends = senders.flatMap((sender) => sender.sends)
      const all = await readAll(client, { topic, run, wanted: okOf(sends) })
      const seen = (): boolean => {
        const values = new Set(reads.map(({ value }) => value))
        return okOf(sends).every((value) => values.has(value))
      }
      await untilQuiet(seen, () => reads.length)
      await Promise.all([...readers, ...producers].map((one) => within(one.disconnect(), 5_000)))
      const stuck = ids.filter((_, at) => stopped[at] === false)
      return judge({ sends, all, reads, stuck })
    },
    remove: () => removeTopic(client, topic, [`chaos-${run}`, groupOfAll(run, topic)]),
  }
}

function okOf(sends: readonly Send[]): readonly string[] {
  return sends.filter(({ outcome }) => outcome === 'ok').map(({ value }) => value)
}

function judge(seen: {
  readonly sends: readonly Send[]
  readonly all: readonly Read[]
  readonly reads: readonly Read[]
  readonly stuck: readonly string[]
}): Verdict {
  const { sends, all, reads, stuck } = seen
  const inLog = new Set(all.map(({ value }) => value))
  const inGroup = new Set(reads.map(({ value }) => value))
  const acknowledged = okOf(sends)
  const lost = (values: ReadonlySet<string>, where: string): readonly Finding[] =>
    acknowledged
      .filter((value) => !values.has(value))
      .map((value) => ({ kind: 'lost', what: `${value} (${where})` }))
  return {
    acknowledged: acknowledged.length,
    unknown: sends.filter(({ outcome }) => outcome === 'unknown').length,
    delivered: inLog.size,
    redelivered: reads.length - inGroup.size,
    findings: [
      ...lost(inLog, 'not in the log'),
      ...lost(inGroup, 'not read by the group'),
      ...duplicatesIn(all),
      ...misplaced(sends, all),
      ...inconsistentOffsets([...all, ...reads]),
      ...nonMonotonic(all),
      ...stuck.map((what): Finding => ({ kind: 'stuck', what })),
    ],
  }
}

export function kafkaClient(
  brokers: readonly HostPort[],
  clientId: string,
  more: Pick<KafkaConfig, 'socketFactory'> = {},
): Kafka {
  return new Kafka({
    ...more,
    ...{ clientId, brokers: brokers.map(({ host, port }) => `${host}:${port}`) },
    ...{ logLevel: logLevel.NOTHING, connectionTimeout: 1_000, requestTimeout: 3_000 },
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 200 },
  })
}

export async function createTopic(client: Kafka, topic: string): Promise<void> {
  const admin = client.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }], waitForLeaders: true })
  await admin.disconnect()
}

/** With the groups that read it. */
export async function removeTopic(
  client: Kafka,
  topic: string,
  groups: readonly string[],
): Promise<void> {
  const admin = client.admin()
  await admin.connect()
  if (groups.length > 0) await admin.deleteGroups([...groups])
  await admin.deleteTopics({ topics: [topic] })
  await admin.disconnect()
}

function groupOfAll(run: string, topic: string): string {
  return `chaos-${run}-all-${topic}`
}

async function connected(client: Kafka): Promise<Producer> {
  const producer = client.producer({
    ...{ idempotent: true, maxInFlightRequests: 1 },
    createPartitioner: Partitioners.DefaultPartitioner,
  })
  await producer.connect()
  return producer
}

interface Reading {
  readonly topic: string
  readonly group: string
  readonly name: string
  readonly reads: Read[]
}

/** From the beginning, on into what comes. */
export async function read(
  client: Kafka,
  { topic, group, name, reads }: Reading,
): Promise<Consumer> {
  const consumer = client.consumer({
    ...{ groupId: group, sessionTimeout: 6_000, heartbeatInterval: 500, maxWaitTimeInMs: 500 },
    rebalanceTimeout: 6_000,
  })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    autoCommitInterval: 500,
    eachMessage: ({ partition, message }) => {
      const value = message.value?.toString() ?? ''
      const at = { partition: String(partition), offset: Number(message.offset) }
      reads.push({ client: name, value, ...at })
      return Promise.resolve()
    },
  })
  return consumer
}

/** By a group of its own, when nothing is disturbed any more: what the logs hold. */
export async function readAll(
  client: Kafka,
  { topic, run, wanted }: { topic: string; run: string; wanted: readonly string[] },
): Promise<readonly Read[]> {
  const reads: Read[] = []
  const group = groupOfAll(run, topic)
  const consumer = await read(client, { topic, group, name: 'all', reads })
  const ends = await endsOf(client, topic)
  const isComplete = (): boolean => {
    const last = new Map(reads.map(({ partition, offset }) => [partition, offset]))
    const isRead = ends.every(([partition, end]) => (last.get(partition) ?? -1) >= end - 1)
    const values = new Set(reads.map(({ value }) => value))
    return isRead && wanted.every((value) => values.has(value))
  }
  await untilQuiet(isComplete, () => reads.length)
  await pause(200)
  await within(consumer.disconnect(), 5_000)
  return reads
}

async function endsOf(
  client: Kafka,
  topic: string,
): Promise<readonly (readonly [string, number])[]> {
  const admin = client.admin()
  await admin.connect()
  const offsets = await admin.fetchTopicOffsets(topic)
  await admin.disconnect()
  return offsets.map(({ partition, high }) => [String(partition), Number(high)])
}
