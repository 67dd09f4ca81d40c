/** Load that lasts as long as the soak: connections, a session and a consumer group that stay; a log that is cut. */
import { Kafka, logLevel, Partitioners } from 'kafkajs'
import mqtt from 'mqtt'
import type { TestCluster } from '../support/cluster.ts'
import { NumberedStream } from './stream.ts'

const BROKERS = [1, 2, 3]
const PACE_MS = 20
const VALUE_BYTES = 1_024
const RETENTION_BYTES = 4 * 1024 * 1024
const SEGMENT_BYTES = 1024 * 1024
/** From what has been written on, in times of what is retained, something must have been cut. */
const CUT_TIMES = 4
const LAST_MS = 30_000

export interface Background {
  readonly streams: readonly NumberedStream[]
  /** Ends it; what was found. */
  stop(): Promise<readonly string[]>
}

export async function startBackground(cluster: TestCluster): Promise<Background> {
  const [kafka, live] = await Promise.all([startLog(cluster), startSession(cluster)])
  const streams = [kafka.stream, live.stream]
  return {
    streams,
    stop: async () => {
      const more = await Promise.all([kafka.stop(), live.stop()])
      return [...streams.flatMap((stream) => stream.end()), ...more.flat()]
    },
  }
}

interface Running {
  readonly stream: NumberedStream
  stop(): Promise<readonly string[]>
}

async function startLog(cluster: TestCluster): Promise<Running> {
  const topic = 'soak'
  const kafka = new Kafka({
    brokers: BROKERS.map((broker) => `127.0.0.1:${cluster.kafkaPort(broker)}`),
    ...{ clientId: 'soak', logLevel: logLevel.NOTHING },
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 1_000 },
  })
  const admin = kafka.admin()
  await admin.connect()
  const settings = { 'retention.bytes': RETENTION_BYTES, 'segment.bytes': SEGMENT_BYTES }
  const configEntries = Object.entries(settings).map(([name, value]) => ({
    ...{ name, value: String(value) },
  }))
  await admin.createTopics({ topics: [{ topic, numPartitions: 1, configEntries }] })
  const stream = new NumberedStream('kafka')
  const consumer = kafka.consumer({ groupId: 'soak' })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    eachMessage: ({ message }) => {
      stream.received(Number(message.value?.toString().trim()))
      return Promise.resolve()
    },
  })
  const producer = kafka.producer({
    ...{ idempotent: true, maxInFlightRequests: 1 },
    createPartitioner: Partitioners.DefaultPartitioner,
  })
  await producer.connect()
  const sender = send(stream, (number) => {
    const value = String(number).padEnd(VALUE_BYTES)
    return producer.send({ topic, acks: -1, messages: [{ value }] })
  })
  return {
    stream,
    stop: async () => {
      await sender()
      const [{ low = '0' } = {}] = await admin.fetchTopicOffsets(topic)
      await Promise.all([consumer.disconnect(), producer.disconnect(), admin.disconnect()])
      const isDue = stream.figures.sent * VALUE_BYTES > CUT_TIMES * RETENTION_BYTES
      return isDue && low === '0' ? ['retention: nothing of the log was cut'] : []
    },
  }
}

async function startSession(cluster: TestCluster): Promise<Running> {
  const connect = (broker: number, clientId: string) =>
    mqtt.connectAsync(`mqtt://127.0.0.1:${cluster.mqttPort(broker)}`, {
      ...{ clientId, clean: false, protocolVersion: 5, reconnectPeriod: 200 },
      properties: { sessionExpiryInterval: 3_600 },
    })
  const stream = new NumberedStream('mqtt')
  const [reader, publisher] = await Promise.all([
    connect(1, 'soak-reader'),
    connect(2, 'soak-writer'),
  ])
  reader.on('message', (_topic, payload) => stream.received(Number(payload.toString())))
  await reader.subscribeAsync('soak/live', { qos: 1 })
  const sender = send(stream, (number) =>
    publisher.publishAsync('soak/live', String(number), { qos: 1 }),
  )
  return {
    stream,
    stop: async () => {
      await sender()
      await Promise.all([reader.endAsync(true), publisher.endAsync(true)])
      return []
    },
  }
}

/** Sends until it is told to stop, each number until it is acknowledged; what stops it waits for all to come. */
function send(
  stream: NumberedStream,
  one: (number: number) => Promise<unknown>,
): () => Promise<void> {
  let isOver = false
  const loop = async (): Promise<void> => {
    while (!isOver) {
      const number = stream.next
      try {
        await one(number)
        stream.acknowledged(number)
      } catch {
        // The same again.
      }
      await pause(PACE_MS)
    }
  }
  const done = loop()
  return async () => {
    isOver = true
    const end = performance.now() + LAST_MS
    await Promise.race([done, pause(LAST_MS)])
    while (!stream.isComplete && performance.now() < end) await pause(PACE_MS)
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
