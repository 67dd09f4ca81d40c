// The load of the benchmark of queues, one process: raw SQS requests over many connections. Prints figures as JSON.
// usage: load.ts PORT CONNECTIONS BYTES fill QUEUE MESSAGES DELAY_SECONDS
//        load.ts PORT CONNECTIONS BYTES schedule QUEUE RATE SECONDS
//        load.ts PORT CONNECTIONS BYTES take QUEUE MESSAGES

import { fail, pause, Requester, request } from '../sqs/requester.ts'

const [port = 0, connections = 64, bytes = 256] = process.argv.slice(2, 5).map(Number)
const [part = '', QueueName = '', ...numbers] = process.argv.slice(5)
const BATCH = 10
const MessageBody = 'x'.repeat(bytes)
/** From the last send of a schedule until the first message is due, at least. */
const LEAD_SECONDS = 3
const WAIT_SECONDS = 20
/** Of a schedule, not counted: JavaScript is slow at first, here and there. */
const WARM_UP_SECONDS = 3

interface Schedule {
  /** A second. */
  readonly rate: number
  readonly messages: number
  readonly delaySeconds: number
}

interface Message {
  readonly ReceiptHandle: string
  readonly Attributes: { readonly SentTimestamp: string }
}

const requesters = Array.from({ length: connections }, () => new Requester(port))
const [control] = requesters as [Requester]
const created = await control.ask(request('CreateQueue', { QueueName }))
const { QueueUrl } = JSON.parse(created.toString()) as { QueueUrl: string }

/** Each connection goes on until `step` answers false. Resolves to the seconds that it took. */
async function all(step: (requester: Requester) => Promise<boolean>): Promise<number> {
  const begun = performance.now()
  const run = async (requester: Requester): Promise<void> => {
    while (await step(requester)) {
      // The step is the work.
    }
  }
  await Promise.all(requesters.map(run))
  return (performance.now() - begun) / 1_000
}

function sendOf(DelaySeconds: number): Buffer {
  const Entries = Array.from({ length: BATCH }, (_, at) => ({
    ...{ Id: `m${at}`, MessageBody },
    ...(DelaySeconds > 0 && { DelaySeconds }),
  }))
  return request('SendMessageBatch', { QueueUrl, Entries })
}

async function fill(messages: number, delaySeconds: number): Promise<object> {
  const send = sendOf(delaySeconds)
  let left = messages
  const seconds = await all(async (requester) => {
    left -= BATCH
    if (left < 0) return false
    await requester.ask(send)
    return true
  })
  return { perSecond: messages / seconds }
}

/** Messages that fall due at the rate for the seconds, all sent before the first of them is. */
async function schedule(rate: number, seconds: number): Promise<object> {
  const messages = rate * (seconds + WARM_UP_SECONDS)
  const delaySeconds = seconds + WARM_UP_SECONDS + LEAD_SECONDS
  const send = sendOf(delaySeconds)
  const begun = performance.now()
  let sent = 0
  await all(async (requester) => {
    const at = sent
    if (at >= messages) return false
    sent += BATCH
    const early = begun + (at / rate) * 1_000 - performance.now()
    if (early > 0) await pause(early)
    await requester.ask(send)
    return true
  })
  if (performance.now() - begun > delaySeconds * 1_000) fail('sending fell behind the schedule')
  return punctuality({ rate, messages, delaySeconds })
}

/** How late messages are received, ms: the wall clock of this process is that of the broker. */
function punctuality({ rate, messages, delaySeconds }: Schedule): Promise<object> {
  const receive = request('ReceiveMessage', {
    ...{ QueueUrl, MaxNumberOfMessages: BATCH, WaitTimeSeconds: WAIT_SECONDS },
    AttributeNames: ['SentTimestamp'],
  })
  const lateness: number[] = []
  const warm = rate * WARM_UP_SECONDS
  // Who still waits when all are there would get nothing any more.
  return new Promise((resolve) => {
    void all(async (requester) => {
      const received = await take(requester, receive, (message) => {
        const dueAtMs = Number(message.Attributes.SentTimestamp) + delaySeconds * 1_000
        lateness.push(Date.now() - dueAtMs)
      })
      if (lateness.length >= messages)
        resolve({
          messages: messages - warm,
          ...distribution(lateness.slice(warm)),
          p99OfSecondsMs: bySecond(lateness.slice(warm), rate),
        })
      return received > 0 || fail('a message that was due was not received')
    })
  })
}

function distribution(values: number[]): object {
  values.sort((a, b) => a - b)
  const at = (share: number) => values[Math.floor((values.length - 1) * share)] ?? 0
  return { minMs: at(0), p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) }
}

/** The 99th percentile of each second, sorted: one that the machine stood still in does not hide the others. */
function bySecond(values: readonly number[], rate: number): number[] {
  const seconds = Array.from({ length: Math.floor(values.length / rate) }, (_, at) => {
    const second = values.slice(at * rate, (at + 1) * rate).sort((a, b) => a - b)
    return second[Math.floor((second.length - 1) * 0.99)] ?? 0
  })
  return seconds.sort((a, b) => a - b)
}

async function takeSome(messages: number): Promise<object> {
  const receive = request('ReceiveMessage', { QueueUrl, MaxNumberOfMessages: BATCH })
  let taken = 0
  const seconds = await all(async (requester) => {
    if (taken >= messages) return false
    const received = await take(requester, receive, () => {})
    taken += received
    return received > 0 || fail('the queue ran empty')
  })
  return { perSecond: taken / seconds }
}

/** Receives some and deletes them; how many. */
async function take(
  requester: Requester,
  receive: Buffer,
  each: (message: Message) => void,
): Promise<number> {
  const answer = JSON.parse((await requester.ask(receive)).toString()) as { Messages?: Message[] }
  const { Messages = [] } = answer
  if (Messages.length === 0) return 0
  for (const message of Messages) each(message)
  const Entries = Messages.map(({ ReceiptHandle }, at) => ({ Id: `m${at}`, ReceiptHandle }))
  await requester.ask(request('DeleteMessageBatch', { QueueUrl, Entries }))
  return Messages.length
}

function finish(figures: object): never {
  process.stdout.write(JSON.stringify(figures))
  process.exit(0)
}

const PARTS: Readonly<Record<string, (a: number, b: number) => Promise<object>>> = {
  fill,
  schedule,
  take: takeSome,
}
const [a = 0, b = 0] = numbers.map(Number)
finish((await PARTS[part]?.(a, b)) ?? fail(`there is no part ${part}`))
