/**
 * A stateful fuzzer of the MQTT port: many connections at once, each with a valid beginning and then spoiled
 * packets, among a few client ids, so that sessions are taken over, resumed and expire in between. A bystander
 * publishes to itself all the while and must see every message.
 */
import { connect, type Socket } from 'node:net'
import { connect as connectMqtt } from '../support/mqtt-clients.ts'
import { Chance, connectPacket, mutated, type Version, validPacket } from './mutations.ts'

export interface FuzzOptions {
  readonly port: number
  readonly cases: number
  readonly seed: number
  readonly connections: number
  /** Called now and then with the cases so far. */
  readonly onProgress: (cases: number) => void
}

export interface FuzzResult {
  readonly cases: number
  readonly connections: number
  /** Ended by the server. */
  readonly closed: number
  readonly bystanderSent: number
  readonly bystanderSeen: number
  /** The bystander saw its messages in their order, each once. */
  readonly isInOrder: boolean
  /** The longest that the bystander waited for an acknowledgement, ms. */
  readonly slowestMs: number
}

const VERSIONS: readonly Version[] = [3, 4, 5, 5]
const PINGREQ = Buffer.from('c000', 'hex')
const PINGRESP = Buffer.from('d000', 'hex')
/** Behind a packet that is cut off the server says nothing until more comes. */
const SILENCE_MS = 15
const WELCOME_MS = 500
const PACKETS_MAX = 4

export async function fuzzMqtt(options: FuzzOptions): Promise<FuzzResult> {
  const bystander = await startBystander(options.port)
  const counts = { cases: 0, connections: 0, closed: 0 }
  const worker = async (index: number): Promise<void> => {
    const chance = new Chance(options.seed * 1_000 + index)
    while (counts.cases < options.cases) {
      counts.connections++
      await oneConnection(options.port, chance, counts)
      if (counts.connections % 500 === 0) options.onProgress(counts.cases)
    }
  }
  await Promise.all(Array.from({ length: options.connections }, (_, index) => worker(index)))
  return { ...counts, ...(await bystander.stop()) }
}

async function oneConnection(
  port: number,
  chance: Chance,
  counts: { cases: number; closed: number },
): Promise<void> {
  const version = chance.of(VERSIONS)
  const connection = await open(port)
  const hello = connectPacket(version, chance)
  if (chance.next() < 0.15) {
    counts.cases++
    connection.socket.write(mutated(hello, chance))
  } else {
    connection.socket.write(hello)
    await connection.welcomed()
  }
  for (let i = chance.below(4); i > 0; i--) connection.socket.write(validPacket(version, chance))
  for (let i = 0; i < PACKETS_MAX; i++) {
    counts.cases++
    connection.socket.write(mutated(validPacket(version, chance), chance))
    const outcome = await connection.answered()
    if (outcome === 'closed') counts.closed++
    if (outcome !== 'answered') break
  }
  connection.socket.destroy()
}

interface Connection {
  readonly socket: Socket
  /** The server has said something, or closed, or a while has passed. */
  welcomed(): Promise<void>
  /** Sends PINGREQ; whether the server answered it, closed, or said nothing for a while. */
  answered(): Promise<'answered' | 'closed' | 'silent'>
}

function open(port: number): Promise<Connection> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  let isClosed = false
  let tail = Buffer.alloc(0)
  let wake = (): void => undefined
  let isWelcome = false
  socket.on('error', () => undefined)
  socket.on('close', () => {
    isClosed = true
    wake()
  })
  socket.on('end', () => {
    isClosed = true
    wake()
  })
  socket.on('data', (chunk: Buffer) => {
    tail = Buffer.from(chunk.subarray(-PINGRESP.length))
    if (!isWelcome || tail.equals(PINGRESP)) wake()
    isWelcome = true
  })
  const welcomed = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, WELCOME_MS)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
      if (isClosed || isWelcome) wake()
    })
  const answered: Connection['answered'] = () =>
    new Promise((resolve) => {
      if (isClosed) {
        resolve('closed')
        return
      }
      tail = Buffer.alloc(0)
      const timer = setTimeout(() => resolve('silent'), SILENCE_MS)
      wake = () => {
        clearTimeout(timer)
        resolve(isClosed ? 'closed' : 'answered')
      }
      socket.write(PINGREQ)
    })
  return new Promise((resolve) => {
    socket.once('connect', () => resolve({ socket, welcomed, answered }))
    socket.once('close', () => resolve({ socket, welcomed, answered }))
  })
}

const BYSTANDER_PAUSE_MS = 5

async function startBystander(port: number) {
  const topic = `bystander/${Math.random()}`
  const client = await connectMqtt(port, { clientId: 'bystander', keepalive: 30 })
  await client.mqtt.subscribeAsync(topic, { qos: 1 })
  let isStopped = false
  let sent = 0
  let slowestMs = 0
  const running = (async () => {
    while (!isStopped) {
      const before = performance.now()
      await client.mqtt.publishAsync(topic, String(sent++), { qos: (sent % 2) as 0 | 1 })
      slowestMs = Math.max(slowestMs, performance.now() - before)
      await new Promise((resolve) => setTimeout(resolve, BYSTANDER_PAUSE_MS))
    }
  })()
  return {
    stop: async () => {
      isStopped = true
      await running
      const until = performance.now() + 20_000
      while (client.received.length < sent && performance.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      const texts = client.texts()
      await client.end()
      const isInOrder = texts.every((text, index) => text === String(index))
      return { bystanderSent: sent, bystanderSeen: texts.length, isInOrder, slowestMs }
    },
  }
}
