// `npm run bench -- log-tasks`: what the background tasks of logs cost the clients. Durable publishes (QoS 1 to a
// topic, synced LevelDB) at a fixed rate, first with nothing else to do, then while another topic is compacted,
// in turn. The time until the acknowledgement, as a ratio of the two within one run.

import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import mqtt, { type MqttClient } from 'mqtt'

const ROBUST = resolve(import.meta.dirname, '../../cli/bin/robust.js')
const OFFSET = 21_000
const ROUNDS = 3
const SECONDS = 6
const RATE = 200
const FILL_MESSAGES = 800
const FILL_BYTES = 64 * 1024

const run = promisify(execFile)

async function robust(...args: string[]): Promise<string> {
  const placement = ['--placement', `127.0.0.1:${1228 + OFFSET}`]
  const { stdout } = await run(process.execPath, [ROBUST, ...args, ...placement])
  return stdout
}

async function connected(port: number): Promise<MqttClient> {
  for (let tries = 0; ; tries++) {
    try {
      return await mqtt.connectAsync({ host: '127.0.0.1', port, reconnectPeriod: 0 })
    } catch (error) {
      if (tries === 100) throw error
      await pause(100)
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms))
}

/** Milliseconds to the acknowledgement of each message. */
async function latencies(client: MqttClient): Promise<number[]> {
  const found: number[] = []
  const sent: Promise<void>[] = []
  const start = performance.now()
  for (let i = 0; i < RATE * SECONDS; i++) {
    const due = start + (i * 1000) / RATE
    const early = due - performance.now()
    if (early > 0) await pause(early)
    const at = performance.now()
    const done = client.publishAsync('front', 'x'.repeat(256), { qos: 1 })
    sent.push(done.then(() => void found.push(performance.now() - at)))
  }
  await Promise.all(sent)
  return found.sort((a, b) => a - b)
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.floor((sorted.length - 1) * share)] ?? 0

const median = (values: readonly number[]): number =>
  at(
    values.toSorted((a, b) => a - b),
    0.5,
  )

/** New values for keys that are there already: the compaction that follows reads and writes all of it. */
async function fill(client: MqttClient, round: number): Promise<void> {
  const payload = Buffer.alloc(FILL_BYTES, round)
  const window = 32
  for (let i = 0; i < FILL_MESSAGES; i += window) {
    const some = Array.from({ length: window }, (_, n) => `back/${(i + n) % 500}`)
    await Promise.all(some.map((topic) => client.publishAsync(topic, payload, { qos: 1 })))
  }
}

/** Whether the tasks are at work: the log shrinks while nobody writes to it. */
async function backBytes(): Promise<number> {
  const { partitions } = JSON.parse(await robust('topic', 'describe', 'back', '-o', 'json'))
  return partitions[0].bytes
}

export async function logTasks(): Promise<number> {
  const home = mkdtempSync(join(tmpdir(), 'robust-bench-'))
  const args = [ROBUST, 'server', 'start', '--data', home, '--port-offset', String(OFFSET)]
  const server = spawn(process.execPath, args, { stdio: 'ignore' })
  try {
    const client = await connected(1883 + OFFSET)
    await robust('topic', 'create', 'front')
    const config = ['cleanup=compact', 'dirty-percent=0', 'segment-ms=1000']
    const flags = config.flatMap((setting) => ['--config', setting])
    await robust('topic', 'create', 'back', '--capture', 'back/#', ...flags)
    await latencies(client)
    const ratios: { p50: number; p99: number }[] = []
    for (let round = 1; round <= ROUNDS; round++) {
      const quiet = await latencies(client)
      await fill(client, round)
      const before = await backBytes()
      while ((await backBytes()) >= before) await pause(50)
      const busy = await latencies(client)
      const ratio = (share: number): number => at(busy, share) / at(quiet, share)
      ratios.push({ p50: ratio(0.5), p99: ratio(0.99) })
      const figures = [at(quiet, 0.5), at(busy, 0.5), at(quiet, 0.99), at(busy, 0.99)]
      const [q50, b50, q99, b99] = figures.map((ms) => ms.toFixed(2))
      console.log(`round ${round}: p50 ${q50} -> ${b50} ms, p99 ${q99} -> ${b99} ms`)
      while (await shrinks()) await pause(500)
    }
    const show = (pick: (one: { p50: number; p99: number }) => number): string =>
      `${median(ratios.map(pick)).toFixed(2)}×`
    console.log(
      `median ratio while compacting: p50 ${show(({ p50 }) => p50)}, p99 ${show(({ p99 }) => p99)}`,
    )
    await client.endAsync(true)
    return 0
  } finally {
    server.kill('SIGKILL')
    rmSync(home, { recursive: true, force: true })
  }
}

async function shrinks(): Promise<boolean> {
  const before = await backBytes()
  await pause(6_000)
  return (await backBytes()) < before
}
