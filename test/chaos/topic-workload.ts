/**
 * A workload with a history that can be judged: publishers that each send numbered values to a topic, one after
 * the other, wherever a broker takes them. An acknowledged value must be in the topic; one whose outcome is
 * unknown may be.
 */
import mqtt, { type MqttClient } from 'mqtt'
import type { TestCluster } from '../support/cluster.ts'

/** What the chaos needs of a cluster. */
export type ChaosCluster = Pick<TestCluster, 'mqttPort' | 'robust'>

export interface History {
  readonly publisher: string
  /** In the order of their acknowledgements. */
  readonly acknowledged: readonly number[]
  /** Sent, and never answered. */
  readonly unknown: readonly number[]
}

export interface Workload {
  readonly acknowledged: () => number
  stop(): Promise<readonly History[]>
}

const TOPIC = 'chaos'
const PARTITIONS = 8
const ANSWER_MS = 20_000
const RETRY_MS = 100

export async function createTopic(cluster: ChaosCluster): Promise<void> {
  const args = ['topic', 'create', TOPIC, '--partitions', String(PARTITIONS)]
  for (let tries = 0; ; tries++) {
    const made = await cluster.robust(...args, '--capture', `${TOPIC}/#`)
    if (made.code === 0) break
    if (tries === TRIES) throw new Error(made.stderr)
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
  await read(cluster, 0)
}

/** `ports`: of every broker's MQTT listener. */
export function startWorkload(ports: readonly number[], publishers: number): Workload {
  let running = true
  const all = Array.from({ length: publishers }, (_, at) => new Publisher(`p${at}`, ports, at))
  const done = all.map((publisher) => publisher.run(() => running))
  return {
    acknowledged: () => all.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0),
    stop: async () => {
      running = false
      await Promise.all(done)
      return all
    },
  }
}

class Publisher implements History {
  readonly publisher: string
  readonly acknowledged: number[] = []
  readonly unknown: number[] = []
  readonly #ports: readonly number[]
  #at: number

  constructor(publisher: string, ports: readonly number[], at: number) {
    this.publisher = publisher
    this.#ports = ports
    this.#at = at
  }

  async run(isRunning: () => boolean): Promise<void> {
    let client: MqttClient | undefined
    for (let number = 0; isRunning(); number++) {
      client ??= await this.#connect(isRunning)
      if (client === undefined) break
      const sent = client.publishAsync(`${TOPIC}/${this.publisher}`, String(number), { qos: 1 })
      try {
        await within(sent, ANSWER_MS)
        this.acknowledged.push(number)
      } catch {
        this.unknown.push(number)
        client.end(true)
        client = undefined
      }
    }
    client?.end(true)
  }

  async #connect(isRunning: () => boolean): Promise<MqttClient | undefined> {
    while (isRunning()) {
      const port = this.#ports[this.#at++ % this.#ports.length] as number
      const options = { host: '127.0.0.1', port, reconnectPeriod: 0, connectTimeout: 3_000 }
      const client = mqtt.connect({ ...options, protocolVersion: 5 })
      client.on('error', () => undefined)
      const connected = await new Promise<boolean>((resolve) => {
        client.once('connect', () => resolve(true))
        client.once('close', () => resolve(false))
      })
      if (connected) {
        // What was sent and not answered when the connection broke is unknown at once.
        client.once('close', () => client.end(true))
        return client
      }
      client.end(true)
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
    return undefined
  }
}

function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer')), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

export interface Kept {
  readonly partition: number
  readonly offset: number
  readonly address: string
  readonly value: string
}

/** Every record of the topic, partition by partition, in order of offsets. */
export async function readAll(cluster: ChaosCluster): Promise<Kept[]> {
  const kept: Kept[] = []
  for (let partition = 0; partition < PARTITIONS; partition++) {
    kept.push(...(await read(cluster, partition)))
  }
  return kept
}

const PAGE = 10_000
const TRIES = 30

async function read(cluster: ChaosCluster, partition: number): Promise<Kept[]> {
  const kept: Kept[] = []
  for (let from = 0, failed = 0; ; ) {
    const where = ['--partition', String(partition), '--from', String(from), '--max', String(PAGE)]
    const { code, stdout, stderr } = await cluster.robust(
      'topic',
      'read',
      TOPIC,
      ...where,
      '-o',
      'json',
    )
    if (code !== 0) {
      if (++failed === TRIES) throw new Error(stderr)
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
      continue
    }
    const { records } = JSON.parse(stdout) as { records: Omit<Kept, 'partition'>[] }
    for (const record of records) kept.push({ ...record, partition })
    const last = records[records.length - 1]
    if (last === undefined || records.length < PAGE) return kept
    from = last.offset + 1
  }
}
