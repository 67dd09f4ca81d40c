/** Queues as an operator's program uses them: the admin calls of one broker. */
import { credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { admin } from '@robust/proto'
import type { TestCluster } from './cluster.ts'

export interface QueueMessage {
  readonly id: string
  readonly text: string
  readonly receipt: string
  readonly deliveries: number
  /** The first of each name. */
  readonly headers: Readonly<Record<string, string>>
}

interface ReceiveOptions {
  readonly max?: number
  readonly waitMs?: number
  readonly leaseMs?: number
  readonly signal?: AbortSignal
}

/** Every call rejects with the ServiceError. */
export class QueueBroker {
  readonly #client: admin.BrokerAdminClient
  readonly #deadlineMs: number

  /** `deadlineMs`: of a call, above what it waits for. */
  constructor(cluster: TestCluster, node: number, deadlineMs = 60_000) {
    this.#deadlineMs = deadlineMs
    const address = `127.0.0.1:${9981 + 100 * (node - 1) + cluster.offset}`
    this.#client = new admin.BrokerAdminClient(address, credentials.createInsecure())
  }

  #terms(waitMs = 0): [Metadata, { deadline: number }] {
    return [new Metadata(), { deadline: Date.now() + this.#deadlineMs + waitMs }]
  }

  close(): void {
    this.#client.close()
  }

  /** `config`: settings with their values. */
  create(name: string, config: Record<string, unknown> = {}, bindings: readonly string[] = []) {
    const texts = Object.entries(config).map(([key, value]) => [key, JSON.stringify(value)])
    const request = { tenant: '', name, config: Object.fromEntries(texts) }
    return called<admin.CreateQueueReply>((done) =>
      this.#client.createQueue(
        { ...request, bindings: { filters: [...bindings] } },
        ...this.#terms(),
        done,
      ),
    )
  }

  async delete(name: string): Promise<boolean> {
    const { existed } = await called<admin.ExistedReply>((done) =>
      this.#client.deleteQueue({ tenant: '', name }, ...this.#terms(), done),
    )
    return existed
  }

  describe(name: string): Promise<admin.Queue> {
    return called((done) => this.#client.describeQueue({ tenant: '', name }, done))
  }

  async send(
    name: string,
    texts: readonly string[],
    headers: Record<string, string> = {},
  ): Promise<readonly string[]> {
    const request = {
      ...{ tenant: '', name, values: texts.map((text) => Buffer.from(text)) },
      headers: Object.entries(headers).map(([key, value]) => ({
        name: key,
        value: Buffer.from(value),
      })),
    }
    const { sent } = await called<admin.SendToQueueReply>((done) =>
      this.#client.sendToQueue(request, ...this.#terms(), done),
    )
    return sent.map(({ kind }) => kind)
  }

  async receive(
    name: string,
    { max = 10, waitMs = 0, leaseMs, signal }: ReceiveOptions = {},
  ): Promise<readonly QueueMessage[]> {
    const { messages } = await called<admin.QueueMessages>((done) => {
      const request = { tenant: '', name, max, waitMs, leaseMs }
      const call = this.#client.receiveFromQueue(request, ...this.#terms(waitMs), done)
      signal?.addEventListener('abort', () => call.cancel())
    })
    return messages.map((message) => ({
      id: message.messageId,
      text: Buffer.from(message.value ?? []).toString(),
      receipt: message.receipt,
      deliveries: message.deliveries,
      headers: Object.fromEntries(
        message.headers
          .toReversed()
          .map((header) => [header.name, Buffer.from(header.value).toString()]),
      ),
    }))
  }

  async acknowledge(name: string, messages: readonly QueueMessage[]): Promise<readonly string[]> {
    const receipts = messages.map(({ receipt }) => receipt)
    const { outcomes } = await called<admin.SettleInQueueReply>((done) =>
      this.#client.settleInQueue(
        { tenant: '', name, receipts, release: false },
        ...this.#terms(),
        done,
      ),
    )
    return outcomes
  }

  /** Everything that comes within the time, acknowledged. */
  async drain(name: string, waitMs: number): Promise<QueueMessage[]> {
    const all: QueueMessage[] = []
    for (;;) {
      const messages = await this.receive(name, { waitMs })
      if (messages.length === 0) return all
      all.push(...messages)
      await this.acknowledge(name, messages)
    }
  }
}

function called<T>(invoke: (done: (error: ServiceError | null, reply: T) => void) => unknown) {
  return new Promise<T>((resolve, reject) => {
    invoke((error, reply) => (error === null ? resolve(reply) : reject(error)))
  })
}
