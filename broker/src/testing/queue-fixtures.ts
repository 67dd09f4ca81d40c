/** Queues over a real adapter in virtual time, and owners that come and go. */
import { createMemoryStorage, type NewRecord, type StorageAdapter } from '@robust/storage-adapters'
import { BrokerError } from '../core/errors.ts'
import { withHeaders } from '../core/queues/headers.ts'
import { newQueueCounts, type QueueCounts } from '../core/queues/hosted-queues.ts'
import { DEFAULT_QUEUE_POLICY, type QueuePolicy } from '../core/queues/queue-policy.ts'
import type {
  QueueFigures,
  QueueReply,
  QueueRequest,
  Received,
  ReceiveOptions,
  SendOutcome,
  SettlementAction,
  SettlementOutcome,
} from '../core/queues/queue-requests.ts'
import type { QueueReceipt } from '../core/queues/receipt.ts'
import { toSharedRecord } from '../core/record.ts'
import { ShardWriter } from '../core/shard-writer.ts'
import type { Queue } from '../functions/queue.ts'
import { QueueShard } from '../functions/queue-shard.ts'
import type { PreparedMessage } from '../functions/transactions.ts'
import { settle, VirtualClock } from './virtual-clock.ts'

export const QUEUE = 'default/q'

export class QueueBench {
  readonly clock = new VirtualClock()
  readonly storage: StorageAdapter
  readonly errors: Error[] = []
  readonly checked: PreparedMessage[] = []
  readonly deleted = new Set<number>()
  readonly forgotten: number[] = []
  readonly counts = new Map<number, QueueCounts>()
  news: (version: number) => Promise<boolean> | undefined = () => undefined
  readonly policies = new Map<string, QueuePolicy>()
  #epoch: number
  #shard: QueueShard | undefined
  #writer: ShardWriter | undefined

  /** `epoch`: of the owner before the first one here. */
  constructor(
    policy: Partial<QueuePolicy> = {},
    storage: StorageAdapter = createMemoryStorage(),
    epoch = 0,
  ) {
    this.storage = storage
    this.#epoch = epoch
    this.define(QUEUE, policy)
  }

  define(name: string, policy: Partial<QueuePolicy> = {}): void {
    this.policies.set(name, { ...DEFAULT_QUEUE_POLICY, ...policy })
  }

  /** Another owner takes the shard; the one before is gone without a word. */
  async own(): Promise<void> {
    this.#shard?.stop()
    this.#writer?.abandon()
    const writer = new ShardWriter({
      shard: 1,
      epoch: ++this.#epoch,
      owner: `b${this.#epoch}/x`,
      storage: this.storage,
      clock: this.clock,
      onLost: (_reason, error) => this.errors.push(error),
    })
    await writer.open()
    const shard: QueueShard = new QueueShard({
      writer,
      storage: this.storage,
      clock: this.clock,
      random: () => 0.5,
      countsOf: (id) => {
        const counts = this.counts.get(id) ?? newQueueCounts()
        this.counts.set(id, counts)
        return counts
      },
      definitionOf: (name) => {
        const policy = this.policies.get(name)
        return policy && { id: [...this.policies.keys()].indexOf(name) + 1, policy }
      },
      queuesOf: () => this.policies.keys(),
      deletedOf: () => this.deleted,
      forgetDeleted: (id) => this.forgotten.push(id),
      reached: (version) => this.news(version),
      recordOf: (message) => toSharedRecord(message, []),
      forward: async (name, records) => {
        const reply = await this.handle({ kind: 'send', records }, name)
        return reply.kind === 'sent' ? reply.outcomes : []
      },
      check: (_name, prepared) => this.checked.push(prepared),
      onError: (error) => this.errors.push(error),
    })
    this.#writer = writer
    this.#shard = shard
    shard.start()
    await settle()
  }

  queue(name = QUEUE): Promise<Queue> {
    return this.shard.open(name)
  }

  get shard(): QueueShard {
    if (this.#shard === undefined) throw new Error('nobody owns the shard')
    return this.#shard
  }

  async handle(request: QueueRequest, name = QUEUE): Promise<QueueReply> {
    return this.shard.handle({ queue: name, knownAt: 0, request })
  }

  /** Values, or values with headers. */
  async send(
    messages: readonly (string | readonly [value: string, headers: Record<string, string>])[],
    name = QUEUE,
  ): Promise<readonly SendOutcome[]> {
    const records = messages.map((message) =>
      typeof message === 'string' ? this.record(message) : this.record(message[0], message[1]),
    )
    const reply = await this.handle({ kind: 'send', records }, name)
    if (reply.kind !== 'sent') throw new Error(reply.kind)
    return reply.outcomes
  }

  record(value: string, headers: Record<string, string> = {}): NewRecord {
    const plain = {
      timestamp: this.clock.wallMs(),
      key: null,
      value: Buffer.from(value),
      headers: [],
    }
    return withHeaders<NewRecord>(plain, headers)
  }

  async receive(options: Partial<ReceiveOptions> = {}, name = QUEUE): Promise<readonly Received[]> {
    const reply = await this.handle({ ...RECEIVE, ...options }, name)
    if (reply.kind !== 'received') throw new Error(reply.kind)
    return reply.messages
  }

  async settle(
    action: SettlementAction | SettlementAction['kind'],
    messages: readonly { readonly receipt: QueueReceipt }[],
    name = QUEUE,
  ): Promise<readonly SettlementOutcome[]> {
    const settlements = messages.map(({ receipt }) => ({ receipt, action: actionOf(action) }))
    const reply = await this.handle({ kind: 'settle', settlements }, name)
    if (reply.kind !== 'settled') throw new Error(reply.kind)
    return reply.outcomes
  }

  async figures(name = QUEUE): Promise<QueueFigures> {
    const reply = await this.handle({ kind: 'figures' }, name)
    if (reply.kind !== 'figures') throw new Error(reply.kind)
    return reply.figures
  }

  /** Everything that can be received now, acknowledged. */
  async drain(name = QUEUE): Promise<string[]> {
    const values: string[] = []
    for (;;) {
      const messages = await this.receive({ max: 10 }, name)
      if (messages.length === 0) return values
      values.push(...valuesOf(messages))
      await this.settle('acknowledge', messages, name)
    }
  }
}

const RECEIVE: { readonly kind: 'receive' } & ReceiveOptions = {
  kind: 'receive',
  max: 1,
  waitMs: 0,
  leaseMs: undefined,
  attempt: undefined,
  wholeGroups: false,
  selector: undefined,
}

function actionOf(action: SettlementAction | SettlementAction['kind']): SettlementAction {
  if (typeof action !== 'string') return action
  if (action === 'acknowledge' || action === 'reject') return { kind: action }
  if (action === 'release') return { kind: 'release', delayMs: undefined, failed: true }
  throw new BrokerError('REFUSED', `${action} needs a time`)
}

export function valuesOf(messages: readonly { readonly record: NewRecord }[]): string[] {
  return messages.map(({ record }) => Buffer.from(record.value ?? []).toString())
}
