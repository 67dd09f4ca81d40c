/** Amazon SQS: senders and receivers that change to another broker when one fails them. */
import {
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteQueueCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs'
import { checkDeliveries } from '../checkers/deliveries.ts'
import type { Finding } from '../checkers/verdict.ts'
import type { HostPort } from '../control.ts'
import type { Delivery } from '../history.ts'
import {
  allServed,
  pause,
  Sender,
  type StartWorkload,
  untilQuiet,
  type Workload,
  type WorkloadOptions,
} from './workload.ts'

const RECEIVERS = 2
const STOP_MS = 30_000
/** Shorter than a take-over (3 s) plus a try at the broker that stands still, so that the third try is in time. */
const REQUEST_MS = 1_500
/** So that what a receiver has lost comes again while the run lasts. */
const VISIBILITY_SECONDS = 5

export const sqsStandard: StartWorkload = (options) => start(options, false)
export const sqsFifo: StartWorkload = (options) => start(options, true)

async function start(options: WorkloadOptions, isFifo: boolean): Promise<Workload> {
  const { endpoints, run, clients } = options
  const name = `chaos-${run}${isFifo ? '.fifo' : ''}`
  const makers = new Rotation(endpoints.sqs, 0)
  const QueueUrl = await untilDone(() => create(makers, name, isFifo))
  const kind = isFifo ? 'fifo' : 'sqs'
  const ids = Array.from({ length: clients }, (_, at) => `${run}-${kind}-${at + 1}`)
  const rotations = ids.map((_, at) => new Rotation(endpoints.sqs, at))
  const senders = ids.map((id, at) => {
    const rotation = rotations[at] as Rotation
    return new Sender(id, async (value) => {
      const order = isFifo ? { MessageGroupId: id, MessageDeduplicationId: value } : {}
      const send = new SendMessageCommand({ QueueUrl, MessageBody: value, ...order })
      // With a deduplication id it can be asked again until it is known; without one it would be another message.
      if (isFifo) await untilDone(() => rotation.use((client) => client.send(send)))
      else await rotation.use((client) => client.send(send))
      return 'ok'
    })
  })
  const receivers = Array.from(
    { length: RECEIVERS },
    (_, at) => new Receiver(new Rotation(endpoints.sqs, at + 1), QueueUrl),
  )
  await allServed(senders)
  const deliveries = (): Delivery[] =>
    receivers.flatMap((one) => one.deliveries).sort((a, b) => a.atMs - b.atMs)
  return {
    clients: ids,
    get sends() {
      return senders.flatMap(({ sends }) => sends)
    },
    finish: async () => {
      const stopped = await Promise.all(senders.map((sender) => sender.stop(STOP_MS)))
      const sends = senders.flatMap((sender) => sender.sends)
      const wanted = sends.filter(({ outcome }) => outcome === 'ok')
      await untilQuiet(
        () => {
          const seen = new Set(deliveries().map(({ value }) => value))
          return wanted.every(({ value }) => seen.has(value))
        },
        () => deliveries().length,
      )
      await Promise.all(receivers.map((one) => one.stop()))
      for (const rotation of [...rotations, ...receivers]) rotation.destroy()
      const promise = { exactlyOnce: false, ordered: isFifo }
      const pending = ids.flatMap((id, at) =>
        stopped[at] === true ? [] : [unknownSend(id, `${id}-${senders[at]?.sends.length}`)],
      )
      const verdict = checkDeliveries([...sends, ...pending], deliveries(), promise)
      const stuck = ids.filter((_, at) => stopped[at] === false)
      const more = [
        ...stuck.map((what): Finding => ({ kind: 'stuck', what })),
        ...(isFifo ? afterDelete(receivers) : []),
      ]
      return { ...verdict, findings: [...verdict.findings, ...more] }
    },
    remove: async () => {
      await makers.use((client) => client.send(new DeleteQueueCommand({ QueueUrl })))
      makers.destroy()
    },
  }
}

function unknownSend(client: string, value: string) {
  return { client, value, startedMs: 0, endedMs: 0, outcome: 'unknown' } as const
}

/** What was deleted, and the receiver told so, must not come again. */
function afterDelete(receivers: readonly Receiver[]): readonly Finding[] {
  const deleted = new Map<string, number>()
  for (const { deletions } of receivers) for (const [value, at] of deletions) deleted.set(value, at)
  return receivers.flatMap(({ deliveries }) =>
    deliveries
      .filter(({ value, askedMs }) => askedMs > (deleted.get(value) ?? Number.POSITIVE_INFINITY))
      .map(({ value }): Finding => ({ kind: 'duplicated', what: `${value}, after its deletion` })),
  )
}

async function create(makers: Rotation, name: string, isFifo: boolean): Promise<string> {
  const visibility = { VisibilityTimeout: String(VISIBILITY_SECONDS) }
  const order = isFifo ? ({ FifoQueue: 'true' } as const) : {}
  const command = new CreateQueueCommand({
    QueueName: name,
    Attributes: { ...visibility, ...order },
  })
  const { QueueUrl } = await makers.use((client) => client.send(command))
  if (QueueUrl === undefined) throw new Error('CreateQueue answered no URL')
  return QueueUrl
}

class Receiver {
  readonly deliveries: (Delivery & { readonly askedMs: number })[] = []
  /** When it was told so, by value. */
  readonly deletions = new Map<string, number>()
  readonly #rotation: Rotation
  readonly #queue: string
  readonly #done: Promise<void>
  #isStopped = false

  constructor(rotation: Rotation, queue: string) {
    this.#rotation = rotation
    this.#queue = queue
    this.#done = this.#loop()
  }

  destroy(): void {
    this.#rotation.destroy()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#done
  }

  async #loop(): Promise<void> {
    while (!this.#isStopped) {
      const askedMs = performance.now()
      const receive = new ReceiveMessageCommand({
        ...{ QueueUrl: this.#queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 },
        MessageSystemAttributeNames: ['MessageGroupId'],
      })
      try {
        const { Messages = [] } = await this.#rotation.use((client) => client.send(receive))
        for (const message of Messages) this.#note(message, askedMs)
        if (Messages.length > 0) await this.#delete(Messages)
      } catch {
        await pause(50)
      }
    }
  }

  #note({ Body = '', Attributes }: Message, askedMs: number): void {
    const stream = Attributes?.MessageGroupId ?? ''
    this.deliveries.push({
      ...{ client: 'receiver', value: Body, atMs: performance.now(), stream, askedMs },
    })
  }

  async #delete(messages: readonly Message[]): Promise<void> {
    const Entries = messages.map(({ ReceiptHandle }, at) => ({ Id: String(at), ReceiptHandle }))
    const command = new DeleteMessageBatchCommand({ QueueUrl: this.#queue, Entries })
    const { Successful = [] } = await this.#rotation.use((client) => client.send(command))
    for (const { Id } of Successful) {
      const value = messages[Number(Id)]?.Body
      if (value !== undefined) this.deletions.set(value, performance.now())
    }
  }
}

/** One client a broker; whoever fails is left for the next. */
class Rotation {
  readonly #clients: readonly SQSClient[]
  #at: number

  constructor(brokers: readonly HostPort[], first: number) {
    this.#at = first
    this.#clients = brokers.map(
      ({ host, port }) =>
        new SQSClient({
          ...{ endpoint: `http://${host}:${port}`, region: 'us-east-1', maxAttempts: 1 },
          useQueueUrlAsEndpoint: false,
          credentials: { accessKeyId: 'chaos', secretAccessKey: 'chaos' },
          requestHandler: {
            connectionTimeout: 1_000,
            requestTimeout: REQUEST_MS,
            throwOnRequestTimeout: true,
          },
        }),
    )
  }

  destroy(): void {
    for (const client of this.#clients) client.destroy()
  }

  async use<Answer>(ask: (client: SQSClient) => Promise<Answer>): Promise<Answer> {
    try {
      return await ask(this.#clients[this.#at % this.#clients.length] as SQSClient)
    } catch (error) {
      this.#at++
      throw error
    }
  }
}

async function untilDone<Answer>(act: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    try {
      return await act()
    } catch {
      await pause(50)
    }
  }
}
