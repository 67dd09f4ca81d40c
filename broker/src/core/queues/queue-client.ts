/**
 * Queues of the whole cluster: definitions by the metadata, requests by the owners. It hides which broker owns a queue,
 * that owners change, and that news takes its time.
 */
import { BrokerError } from '../errors.ts'
import { SHARD_WAIT_MS } from '../limits.ts'
import type { Clock } from '../ports/clock.ts'
import type { ShardClient } from '../shard-client.ts'
import { shardOf } from '../shard-hash.ts'
import type { StoragePressure } from '../storage-pressure.ts'
import { DEFAULT_TENANT, queueKey, queueNameOf } from './queue-key.ts'
import { DEFAULT_QUEUE_POLICY } from './queue-policy.ts'
import {
  BROKER_ATTEMPT,
  type QueueReply,
  type QueueRequest,
  type Received,
} from './queue-requests.ts'
import type { QueueTable } from './queue-table.ts'
import type { AskOptions, KnownQueue, QueueChange, Queues } from './queues.ts'

export type QueueContent = Pick<KnownQueue, 'tenant' | 'name' | 'policy' | 'bindings' | 'dialects'>

/** Where definitions are kept. Rejects with BrokerError: REFUSED, UNAVAILABLE (the outcome is unknown then). */
export interface QueueDefinitions {
  /** Resolves with the new version, which is known everywhere then; undefined: another version is there. */
  put(content: QueueContent, expectedVersion: number): Promise<number | undefined>
  /** As `put`. What it keeps goes. */
  remove(queue: KnownQueue): Promise<number | undefined>
  /** Resolves when what is known of it here is as new as what is kept. */
  refresh(tenant: string, name: string): Promise<void>
}

export interface QueueClientOptions {
  readonly table: QueueTable
  readonly definitions: QueueDefinitions
  readonly shards: ShardClient
  readonly directory: { readonly shardCount: number }
  readonly clock: Clock
  readonly pressure: StoragePressure
  /** All queues are known: else one that is not may be there. */
  readonly isComplete: () => boolean
  /** Never the same twice. */
  readonly newId: () => string
}

/** Changes of others that come first, one after the other. */
const TRIES_MAX = 20

export class QueueClient implements Queues {
  readonly #options: QueueClientOptions

  constructor(options: QueueClientOptions) {
    this.#options = options
  }

  get(name: string, tenant = DEFAULT_TENANT): KnownQueue | undefined {
    return this.#options.table.get(tenant, name)
  }

  list(tenant = DEFAULT_TENANT): readonly KnownQueue[] {
    return [...this.#options.table.list(tenant)].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  async create(name: string, change: QueueChange, tenant = DEFAULT_TENANT) {
    const fresh = { tenant, name, policy: DEFAULT_QUEUE_POLICY, bindings: [], dialects: {} }
    const content = changed(fresh, change)
    return this.#insist({ tenant, name }, async () => {
      const known = this.get(name, tenant)
      if (known !== undefined) return { queue: known, existed: true }
      const version = await this.#options.definitions.put(content, 0)
      if (version === undefined) return undefined
      const queue = this.get(name, tenant)
      // Deleted again by somebody else is as good as made.
      return { queue: queue ?? { ...content, id: version, version }, existed: false }
    })
  }

  change(name: string, change: (queue: KnownQueue) => QueueChange, tenant = DEFAULT_TENANT) {
    return this.#insist({ tenant, name }, async () => {
      const known = this.#known(name, tenant)
      const content = changed(known, change(known))
      const version = await this.#options.definitions.put(content, known.version)
      return version === undefined ? undefined : { ...known, ...content, version }
    })
  }

  delete(name: string, tenant = DEFAULT_TENANT): Promise<boolean> {
    return this.#insist({ tenant, name }, async () => {
      const known = this.get(name, tenant)
      if (known === undefined && this.#options.isComplete()) return false
      if (known === undefined) throw this.#missing(name)
      return (await this.#options.definitions.remove(known)) === undefined ? undefined : true
    })
  }

  async ask(name: string, request: QueueRequest, options: AskOptions = {}): Promise<QueueReply> {
    const { tenant = DEFAULT_TENANT } = options
    const known = this.#known(name, tenant)
    const isRedrive = request.kind === 'redrive' && request.redrive.kind === 'start'
    const to = isRedrive ? request.redrive.to : undefined
    if (!isRedrive || to === undefined) return this.#askAndName(known, request, options)
    const redrive = { ...request.redrive, to: queueKey(tenant, to) }
    return this.#askAndName(known, { kind: 'redrive', redrive }, options)
  }

  /** Of any tenant, by its key. Rejects as `ask` does. */
  async askKey(key: string, request: QueueRequest): Promise<QueueReply> {
    const known = this.#options.table.knownOf(key)
    if (known === undefined) throw this.#missing(key)
    return this.#ask(known, request, {})
  }

  async #askAndName(known: KnownQueue, request: QueueRequest, options: AskOptions) {
    const reply = await this.#ask(known, request, options)
    if (reply.kind !== 'redrives') return reply
    const tasks = reply.tasks.map((task) => ({ ...task, to: task.to && queueNameOf(task.to) }))
    return { ...reply, tasks }
  }

  async #ask(known: KnownQueue, request: QueueRequest, options: AskOptions): Promise<QueueReply> {
    if (request.kind === 'receive') return this.#receive(known, request, options)
    const adds = request.kind === 'send' || request.kind === 'prepare'
    if (adds && this.#options.pressure.isFull) throw new BrokerError('REFUSED', 'storage is full')
    const { waitMs = SHARD_WAIT_MS } = options
    return this.#call(known, { request: () => request, waitMs, signal: undefined })
  }

  /**
   * Waits at the owner; when that changes, at the next one for the rest of the time. Over a stream that broke it is asked
   * under the same name again, so that what was on the way is given once more.
   */
  async #receive(
    known: KnownQueue,
    request: Extract<QueueRequest, { kind: 'receive' }>,
    { waitMs = SHARD_WAIT_MS, signal }: AskOptions,
  ): Promise<QueueReply> {
    if (signal?.aborted === true) return NOTHING
    const { clock, newId } = this.#options
    const untilMs = clock.nowMs() + request.waitMs
    let own: string | undefined
    const attemptOf = (isHere: boolean): string | undefined => {
      if (request.attempt !== undefined || isHere) return request.attempt
      own ??= `${BROKER_ATTEMPT}${newId()}`
      return own
    }
    const answered = this.#call(known, {
      request: (isHere) => ({
        ...request,
        waitMs: Math.max(0, untilMs - clock.nowMs()),
        attempt: attemptOf(isHere),
      }),
      waitMs: waitMs + request.waitMs,
      signal,
    })
    return signal === undefined ? answered : this.#unlessGivenUp(known, answered, signal)
  }

  #unlessGivenUp(known: KnownQueue, answered: Promise<QueueReply>, signal: AbortSignal) {
    return new Promise<QueueReply>((resolve, reject) => {
      const giveUp = (): void => {
        resolve(NOTHING)
        // What was found in the meantime is for others.
        answered.then(
          (reply) => {
            if (reply.kind === 'received') this.#release(known, reply.messages)
          },
          () => undefined,
        )
      }
      signal.addEventListener('abort', giveUp, { once: true })
      answered.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp))
    })
  }

  #release(known: KnownQueue, messages: readonly Received[]): void {
    if (messages.length === 0) return
    const action = { kind: 'release', delayMs: 0, failed: false } as const
    const settlements = messages.map(({ receipt }) => ({ receipt, action }))
    // Else their leases end by themselves.
    this.#ask(known, { kind: 'settle', settlements }, {}).catch(() => undefined)
  }

  async #call(
    { tenant, name, version }: KnownQueue,
    asked: {
      readonly request: (isHere: boolean) => QueueRequest
      readonly waitMs: number
      readonly signal: AbortSignal | undefined
    },
  ): Promise<QueueReply> {
    const { shards, directory } = this.#options
    const queue = queueKey(tenant, name)
    const { waitMs, signal } = asked
    const { queue: reply } = await shards.ask(shardOf('queue', queue, directory.shardCount), {
      request: (isHere) => {
        const knownAt = this.get(name, tenant)?.version ?? version
        return { kind: 'queue', call: { queue, knownAt, request: asked.request(isHere) } }
      },
      waitMs,
      signal,
    })
    if (reply === undefined) throw new BrokerError('UNAVAILABLE', 'the owner gave no answer')
    return reply
  }

  #known(name: string, tenant: string): KnownQueue {
    const known = this.get(name, tenant)
    if (known === undefined) throw this.#missing(name)
    return known
  }

  #missing(name: string): BrokerError {
    return this.#options.isComplete()
      ? new BrokerError('NOT_FOUND', `there is no queue ${name}`)
      : new BrokerError('UNAVAILABLE', 'the metadata is being loaded')
  }

  /** Until it is decided by what is there now. */
  async #insist<T>(
    { tenant, name }: Pick<KnownQueue, 'tenant' | 'name'>,
    attempt: () => Promise<T | undefined>,
  ): Promise<T> {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const done = await attempt()
      if (done !== undefined) return done
      await this.#options.definitions.refresh(tenant, name)
    }
    throw new BrokerError('UNAVAILABLE', 'others change the queue all the time')
  }
}

const NOTHING: QueueReply = { kind: 'received', messages: [], overLimit: false }

function changed(content: QueueContent, change: QueueChange): QueueContent {
  const { tenant, name, policy, bindings, dialects } = content
  return {
    tenant,
    name,
    policy: { ...policy, ...change.policy },
    bindings: change.bindings ?? bindings,
    dialects: { ...dialects, ...change.dialects },
  }
}
