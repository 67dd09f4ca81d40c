// The load of the SQS benchmark, one process, so that it can have a core of its own: raw HTTP connections that each send
// the next request when the last one is answered. Prints the figures of each part as JSON.
// usage: load.ts PORT CONNECTIONS SECONDS BYTES SERVER_PID

import { readFileSync } from 'node:fs'
import { fail, pause, Requester, request } from './requester.ts'

const [port = 0, connections = 64, seconds = 5, bytes = 1_024, pid = 0] = process.argv
  .slice(2)
  .map(Number)
const QUEUE = 'bench'
const WARM_UP_MS = 2_500
const BATCH = 10
const MessageBody = 'x'.repeat(bytes)

/** User and system time of the server until now, µs. The system counts in hundredths of a second. */
function serverMicros(): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const [user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number)
  return (user + system) * 10_000
}

/** Messages a second, the server's time for each, and the latency of requests. `step` answers how many messages it did. */
async function measure(step: (requester: Requester) => Promise<number>) {
  const requesters = Array.from({ length: connections }, () => new Requester(port))
  const latencies: number[] = []
  let messages = 0
  let isCounting = false
  let isOver = false
  const run = async (requester: Requester): Promise<void> => {
    while (!isOver) {
      const begun = performance.now()
      const done = await step(requester)
      if (!isCounting || isOver) continue
      messages += done
      latencies.push(performance.now() - begun)
    }
  }
  const running = requesters.map(run)
  await pause(WARM_UP_MS)
  isCounting = true
  const begun = performance.now()
  const begunMicros = serverMicros()
  await pause(seconds * 1_000)
  isOver = true
  const perSecond = messages / ((performance.now() - begun) / 1_000)
  const microsEach = (serverMicros() - begunMicros) / messages
  await Promise.all(running)
  for (const requester of requesters) requester.end()
  latencies.sort((a, b) => a - b)
  return { perSecond, microsEach, p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? 0 }
}

const first = new Requester(port)
const created = await first.ask(request('CreateQueue', { QueueName: QUEUE }))
const { QueueUrl } = JSON.parse(created.toString()) as { QueueUrl: string }
const one = request('SendMessage', { QueueUrl, MessageBody })
const sends = await measure(async (requester) => {
  await requester.ask(one)
  return 1
})
const Entries = Array.from({ length: BATCH }, (_, at) => ({ Id: `m${at}`, MessageBody }))
const ten = request('SendMessageBatch', { QueueUrl, Entries })
const batched = await measure(async (requester) => {
  await requester.ask(ten)
  return BATCH
})
const some = request('ReceiveMessage', { QueueUrl, MaxNumberOfMessages: BATCH })
const taken = await measure(async (requester) => {
  const { Messages = [] } = JSON.parse((await requester.ask(some)).toString()) as {
    Messages?: { ReceiptHandle: string }[]
  }
  if (Messages.length === 0) fail('the queue ran empty')
  const entries = Messages.map(({ ReceiptHandle }, at) => ({ Id: `m${at}`, ReceiptHandle }))
  await requester.ask(request('DeleteMessageBatch', { QueueUrl, Entries: entries }))
  return Messages.length
})
first.end()
process.stdout.write(JSON.stringify({ sends, batched, taken }))
