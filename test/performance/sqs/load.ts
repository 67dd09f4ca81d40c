// The load of the SQS benchmark, one process, so that it can have a core of its own: raw HTTP connections that each send
// the next request when the last one is answered. Prints the figures of each part as JSON.
// usage: load.ts PORT CONNECTIONS SECONDS BYTES

import { connect, type Socket } from 'node:net'

const [port = 0, connections = 64, seconds = 5, bytes = 1_024] = process.argv.slice(2).map(Number)
const QUEUE = 'bench'
const WARM_UP_MS = 2_500
const BATCH = 10
const MessageBody = 'x'.repeat(bytes)

/** One connection, one request at a time. */
class Requester {
  readonly #socket: Socket
  #chunks: Buffer[] = []
  #bytes = 0
  /** Of the answer that is being read; -1 while its head is not complete. */
  #end = -1
  #bodyAt = 0
  #done: ((body: Buffer) => void) | undefined

  constructor() {
    this.#socket = connect(port, '127.0.0.1')
    this.#socket.setNoDelay()
    this.#socket.on('data', (chunk) => this.#read(chunk))
    this.#socket.on('error', (error) => fail(error.message))
    this.#socket.on('close', () => this.#done && fail('a connection was closed'))
  }

  ask(request: Buffer): Promise<Buffer> {
    return new Promise((resolve) => {
      this.#done = resolve
      this.#socket.write(request)
    })
  }

  end(): void {
    this.#done = undefined
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#end < 0) {
      const all = Buffer.concat(this.#chunks)
      this.#chunks = [all]
      const head = all.indexOf('\r\n\r\n')
      if (head < 0) return
      const text = all.toString('latin1', 0, head)
      if (!text.startsWith('HTTP/1.1 200')) fail(all.toString())
      this.#bodyAt = head + 4
      this.#end = this.#bodyAt + Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
    }
    if (this.#bytes < this.#end) return
    const body = Buffer.concat(this.#chunks).subarray(this.#bodyAt, this.#end)
    this.#chunks = []
    this.#bytes = 0
    this.#end = -1
    const done = this.#done
    this.#done = undefined
    done?.(body)
  }
}

function fail(reason: string): never {
  process.stderr.write(`${reason}\n`)
  process.exit(1)
}

function request(action: string, input: object): Buffer {
  const body = JSON.stringify(input)
  const head = [
    'POST / HTTP/1.1',
    `Host: 127.0.0.1:${port}`,
    `X-Amz-Target: AmazonSQS.${action}`,
    'Content-Type: application/x-amz-json-1.0',
    'Authorization: AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ]
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`)
}

/** Messages a second, and the latency of requests. `step` answers how many messages it did. */
async function measure(step: (requester: Requester) => Promise<number>) {
  const requesters = Array.from({ length: connections }, () => new Requester())
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
  await pause(seconds * 1_000)
  isOver = true
  const perSecond = messages / ((performance.now() - begun) / 1_000)
  await Promise.all(running)
  for (const requester of requesters) requester.end()
  latencies.sort((a, b) => a - b)
  return { perSecond, p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? 0 }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const first = new Requester()
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
