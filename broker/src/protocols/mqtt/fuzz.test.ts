// A stateful fuzzer over connections in memory: the whole server and its core, many connections at once, each with
// a valid beginning and then spoiled packets, virtual time. test/fuzz does the same over sockets to a process.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Packet, parser } from 'mqtt-packet'
import { expect, test } from 'vitest'
import {
  Chance,
  connectPacket,
  mutated,
  type Version,
  validPacket,
} from '../../../../test/fuzz/mutations.ts'
import { MemoryStream } from '../../testing/memory-stream.ts'
import { MqttBench } from '../../testing/mqtt-bench.ts'
import { settle } from '../../testing/virtual-clock.ts'
import { LINGER_MS } from './limits.ts'

/** `ROBUST_FUZZ_SEED=N` repeats a run, `ROBUST_FUZZ_CASES=N` makes it longer. */
const seed = Number(process.env['ROBUST_FUZZ_SEED'] ?? Date.now() % 1_000_000)
const CASES = Number(process.env['ROBUST_FUZZ_CASES'] ?? 100_000)
const CONNECTIONS = 32
const VERSIONS: readonly Version[] = [3, 4, 5, 5]
const HEAP_GROWTH_MAX = 100 * 1024 ** 2

/** The server's side of one connection, and how it began. */
class FuzzClient {
  readonly #chance: Chance
  readonly #version: Version
  readonly #stream: MemoryStream
  #hasSpoken = false

  constructor(bench: MqttBench, chance: Chance) {
    this.#chance = chance
    this.#version = chance.of(VERSIONS)
    this.#stream = open(bench, () => undefined)
  }

  get isOver(): boolean {
    return this.#stream.isOver || this.#stream.destroyed
  }

  /** Answers how many spoiled packets it sent. */
  step(): number {
    const chance = this.#chance
    if (!this.#hasSpoken) {
      this.#hasSpoken = true
      const hello = connectPacket(this.#version, chance)
      const isSpoiled = chance.next() < 0.1
      this.#stream.receive(isSpoiled ? mutated(hello, chance) : hello)
      return isSpoiled ? 1 : 0
    }
    const choice = chance.next()
    if (choice < 0.02) {
      this.#stream.cut()
      return 0
    }
    const packet = validPacket(this.#version, chance)
    if (choice < 0.3) {
      this.#stream.receive(packet)
      return 0
    }
    const bytes = mutated(packet, chance)
    if (bytes.length === 0) return 0
    // Whole, or in two pieces.
    const at = chance.next() < 0.2 ? chance.below(bytes.length) : bytes.length
    this.#stream.receive(bytes.subarray(0, at))
    if (at < bytes.length) this.#stream.receive(bytes.subarray(at))
    return 1
  }

  end(): void {
    this.#stream.cut()
  }
}

/** Of what is still held: a fast run leaves much behind that is only not collected yet. */
function heapUsed(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage().heapUsed
}

function open(bench: MqttBench, onBytes: (bytes: Buffer) => void): MemoryStream {
  const stream = new MemoryStream(onBytes)
  const from = { address: '127.0.0.1', port: 1, certificateName: undefined, secure: false }
  bench.servers[0]?.accept({ ...from, stream, entrance: 'mqtt' }, undefined)
  return stream
}

/** Publishes to itself, and must see all of it in order. */
class Bystander {
  readonly #stream: MemoryStream
  readonly #seen: string[] = []
  #sent = 0
  acknowledged = 0

  constructor(bench: MqttBench) {
    const reader = parser({ protocolVersion: 4 })
    reader.on('packet', (packet: Packet) => {
      if (packet.cmd === 'publish') this.#seen.push(packet.payload.toString())
      if (packet.cmd === 'puback') this.acknowledged++
    })
    this.#stream = open(bench, (bytes) => reader.parse(bytes))
    const hello = '101500044d515454040200000009'
    const id = Buffer.from('bystander')
    this.#stream.receive(Buffer.concat([Buffer.from(hello, 'hex'), id]))
    // SUBSCRIBE to bystander/own with QoS 0.
    const filter = Buffer.from('bystander/own')
    this.#stream.receive(Buffer.concat([Buffer.from('82120001000d', 'hex'), filter, Buffer.of(0)]))
  }

  publish(): void {
    const payload = Buffer.from(String(++this.#sent).padStart(8, '0'))
    const topic = Buffer.from('bystander/own')
    const id = Buffer.of(((this.#sent % 60_000) >> 8) & 0xff, (this.#sent % 60_000) & 0xff || 1)
    this.#stream.receive(Buffer.concat([Buffer.from('3219000d', 'hex'), topic, id, payload]))
  }

  get sent(): number {
    return this.#sent
  }

  /** What is wrong with what it saw; empty: nothing. */
  get complaint(): string {
    const wrong = this.#seen.findIndex((text, index) => Number(text) !== index + 1)
    if (wrong >= 0) return `message ${wrong + 1} was ${this.#seen[wrong]}`
    return this.#seen.length === this.#sent ? '' : `saw ${this.#seen.length} of ${this.#sent}`
  }
}

test(`${CASES} spoiled packets leave nothing behind and hold up nobody`, async () => {
  console.log(`fuzz.test.ts: ROBUST_FUZZ_SEED=${seed}`)
  const chance = new Chance(seed)
  const bench = await MqttBench.start()
  bench.set('mqtt.session-expiry-max-seconds', 2)
  bench.set('mqtt.payload-format-check', true)
  bench.set('mqtt.sys-interval-seconds', 3)
  bench.put('topic-rewrite', '1', { action: 'all', filter: 'fuzz/b/#', target: 'fuzz/r/$1' })
  bench.put('auto-subscription', '1', { topic: 'auto/%c', qos: 1 })
  bench.cluster.retainedLimits = { messagesMax: 16, expirySeconds: 5 }
  const bystander = new Bystander(bench)
  await settle()
  const heapBefore = heapUsed()
  let clients: FuzzClient[] = []
  let cases = 0
  let opened = 0
  for (let round = 0; cases < CASES; round++) {
    clients = clients.filter(({ isOver }) => !isOver)
    while (clients.length < CONNECTIONS) {
      clients.push(new FuzzClient(bench, chance))
      opened++
    }
    for (const client of clients) cases += client.step()
    bystander.publish()
    await settle()
    if (round % 20 === 0) await bench.advance(1_000)
  }
  expect(opened).toBeGreaterThan(CASES / 20)
  for (const client of clients) client.end()
  await settle()
  await bench.advance(120_000)
  expect(bystander.complaint).toBe('')
  expect(bystander.acknowledged).toBe(bystander.sent)
  // Nothing is left of them: no connection, no session, no subscription, no fault of the program.
  expect(bench.servers[0]?.connections).toBe(1)
  const node = [...bench.cluster.nodes.values()][0]
  const sessions = [...(node?.hosted.all() ?? [])].reduce((sum, one) => sum + one.sessions.size, 0)
  expect(sessions).toBe(1)
  // The bystander's own, and the one that it was given.
  expect(node?.messaging.counts.subscriptions).toBe(2)
  expect(node?.errors).toEqual([])
  const faults = bench.log.filter(({ fields }) =>
    /is not a function|Cannot read|undefined|invalid/i.test(fields.reason ?? ''),
  )
  expect(faults.slice(0, 5)).toEqual([])
  // Sockets that are not closed by the other side are let go of by a timer of the platform.
  const grown = () => heapUsed() - heapBefore
  await expect.poll(grown, { timeout: LINGER_MS * 10 }).toBeLessThan(HEAP_GROWTH_MAX)
  await bench.stop()
}, 300_000)
