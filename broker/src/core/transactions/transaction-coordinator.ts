/**
 * The transactions of the transactional ids of one owned shard. A decision is durable before anybody who takes part is
 * told of it, and told until all know, by the next owner if need be. Time-outs abort.
 */
import { prefixEnd, type StorageAdapter } from '@robust/storage-adapters'
import { BrokerError } from '../errors.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { ShardClient } from '../shard-client.ts'
import type { ShardWriter } from '../shard-writer.ts'
import { decodeJson, encodeJson, scanAll } from '../stored.ts'
import {
  abortedFor,
  type Decision,
  decideEnd,
  decideInit,
  decideJoin,
  type EndRequest,
  endedOf,
  type InitRequest,
  identityOf,
  isEnding,
  type JoinRequest,
  newTransaction,
  type ProducerIdentity,
  type Transaction,
  type TransactionFault,
} from './transaction.ts'
import type { JoinOutcome, TransactionEnd } from './transaction-requests.ts'

export interface TransactionCoordinatorOptions {
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly clock: Clock
  readonly shards: Pick<ShardClient, 'call'>
  /** Where the offsets of a group are. */
  readonly shardOfGroup: (group: string) => number
  /** Never given twice in the cluster. */
  readonly newProducerId: () => number
  readonly onError: (error: Error) => void
}

export type IdentityOutcome = { readonly fault: TransactionFault } | ProducerIdentity

/** Time between two looks for transactions that have taken too long, ms. */
const TICK_MS = 1_000
/** A request that comes while the transaction before is being ended waits so long for that, ms. */
const BUSY_WAIT_MS = 2_000
/** Of a try to tell who takes part, ms; and between two. */
const TELL_MS = 5_000
const TELL_AGAIN_MS = 200
/** Ids that were not used for so long are forgotten, ms: Kafka's default. */
const ID_SILENCE_MS = 7 * 86_400_000
/** Transactional ids of a shard: all are in memory, at some 500 B. */
const IDS_MAX = 20_000

export class TransactionCoordinator {
  readonly #options: TransactionCoordinatorOptions
  /** As staged: whoever is told of it waits until it is durable. */
  readonly #transactions = new Map<string, Transaction>()
  readonly #ending = new Map<string, Promise<void>>()
  #timer: Timer | undefined
  #stopped = false

  constructor(options: TransactionCoordinatorOptions) {
    this.#options = options
  }

  async load(): Promise<void> {
    const { storage, writer } = this.#options
    const range = { from: PREFIX, to: prefixEnd(PREFIX) }
    for await (const { value } of scanAll(storage, writer.shard, range)) {
      const transaction = decodeJson<Transaction>(value)
      this.#transactions.set(transaction.id, transaction)
    }
  }

  /** What the owner before has decided is brought to its end. */
  start(): void {
    for (const transaction of this.#transactions.values()) {
      if (isEnding(transaction)) this.#finish(transaction)
    }
    this.#schedule()
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  get(id: string): Transaction | undefined {
    return this.#transactions.get(id)
  }

  all(): IterableIterator<Transaction> {
    return this.#transactions.values()
  }

  async init(id: string, request: InitRequest): Promise<IdentityOutcome> {
    for (let tries = 0; ; tries++) {
      const known = this.#transactions.get(id)
      const decision = known === undefined ? this.#new(id, request) : this.#decide(known, request)
      const transaction = await this.#carryOut(decision)
      if ('fault' in transaction && transaction.fault !== 'busy') return transaction
      const isDone = !('fault' in transaction) && !isEnding(transaction)
      if (isDone) return { producerId: transaction.producerId, epoch: transaction.epoch }
      if (tries === 2 || !(await this.#ended(id))) return { fault: 'busy' }
    }
  }

  #decide(known: Transaction, request: InitRequest): Decision {
    return decideInit(known, request, this.#now())
  }

  /** What the producer was before is of no use where nothing is known of it any more. */
  #new(id: string, { timeoutMs }: InitRequest): Decision {
    if (this.#transactions.size >= IDS_MAX) return { fault: 'full' }
    return { transaction: newTransaction(id, timeoutMs, this.#now()), changed: true }
  }

  async join(id: string, request: JoinRequest): Promise<JoinOutcome> {
    const decide = (known: Transaction) => decideJoin(known, request, this.#now())
    const transaction = await this.#request(id, decide)
    return 'fault' in transaction ? transaction : { sequence: transaction.sequence }
  }

  /** Resolves when everybody who takes part knows, or, when that takes long, when the decision is durable. */
  async end(id: string, request: EndRequest): Promise<IdentityOutcome> {
    const decide = (known: Transaction) => decideEnd(known, request, this.#now())
    const transaction = await this.#request(id, decide)
    if ('fault' in transaction) return transaction
    await this.#ended(id)
    return identityOf(transaction)
  }

  /** Decides once more when the transaction before has been ended. */
  async #request(id: string, decide: (known: Transaction) => Decision) {
    for (let tries = 0; ; tries++) {
      const known = this.#transactions.get(id)
      if (known === undefined) return UNKNOWN
      const decision = decide(known)
      const isBusy = 'fault' in decision && decision.fault === 'busy'
      if (!isBusy || tries === 1 || !(await this.#ended(id))) return this.#carryOut(decision)
    }
  }

  /** Resolves when it is durable; of a decision to end, that is when others begin to be told. */
  async #carryOut(decision: Decision): Promise<Transaction | { readonly fault: TransactionFault }> {
    if ('fault' in decision) return decision
    const { transaction, changed } = decision
    const durable = changed ? this.#store(transaction) : this.#durable()
    if (changed && isEnding(transaction)) this.#finish(transaction)
    return (await durable) ? transaction : LOST
  }

  #store(transaction: Transaction): Promise<boolean> {
    this.#transactions.set(transaction.id, transaction)
    this.#options.writer.put(keyOf(transaction.id), encodeJson(transaction))
    return this.#durable()
  }

  /** False: the shard is lost, the outcome unknown. */
  #durable(): Promise<boolean> {
    return new Promise((resolve) => {
      this.#options.writer.onCommit((outcome) => resolve(outcome === 'committed'))
    })
  }

  /** False: it has not been done in time. */
  #ended(id: string): Promise<boolean> {
    const ending = this.#ending.get(id)
    if (ending === undefined) return Promise.resolve(true)
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(BUSY_WAIT_MS, () => resolve(false))
      void ending.then(() => {
        timer.cancel()
        resolve(true)
      })
    })
  }

  #finish(transaction: Transaction): void {
    const { id } = transaction
    const ending: Promise<void> = this.#tellAll(transaction)
      .catch((error: unknown) => {
        this.#options.onError(error instanceof Error ? error : new Error(String(error)))
      })
      .then(() => {
        if (this.#ending.get(id) === ending) this.#ending.delete(id)
      })
    this.#ending.set(id, ending)
  }

  async #tellAll(transaction: Transaction): Promise<void> {
    if (!(await this.#durable())) return
    const places = [...this.#placesOf(transaction)]
    await Promise.all(places.map(([shard, end]) => this.#tell(shard, end)))
    if (this.#stopped || this.#options.writer.lost) return
    // What comes next is staged behind it.
    void this.#store(endedOf(transaction, this.#options.clock.wallMs()))
  }

  /** Until it is told, or the shard of this coordinator has gone. */
  async #tell(shard: number, end: TransactionEnd): Promise<void> {
    const { shards, clock, writer } = this.#options
    while (!this.#stopped && !writer.lost) {
      try {
        await shards.call(shard, { kind: 'transaction', call: { kind: 'end', end } }, TELL_MS)
        return
      } catch (error) {
        if (!(error instanceof BrokerError)) throw error
        await new Promise<void>((resolve) => clock.after(TELL_AGAIN_MS, resolve))
      }
    }
  }

  #placesOf(transaction: Transaction): Map<number, TransactionEnd> {
    const { producerId, epoch, sequence, state } = transaction
    const { writer, shardOfGroup } = this.#options
    const places = new Map<number, { logs: string[]; groups: string[] }>()
    const at = (shard: number) => {
      const known = places.get(shard) ?? { logs: [], groups: [] }
      places.set(shard, known)
      return known
    }
    for (const { shard, log } of transaction.partitions) at(shard).logs.push(log)
    for (const group of transaction.groups) at(shardOfGroup(group)).groups.push(group)
    const about = { producerId, epoch, sequence, commit: state === 'committing' }
    const of = { ...about, coordinatorEpoch: writer.epoch }
    return new Map([...places].map(([shard, what]) => [shard, { ...of, ...what }]))
  }

  #now() {
    const { clock, newProducerId } = this.#options
    return { nowMs: clock.wallMs(), newProducerId }
  }

  #schedule(): void {
    if (this.#stopped) return
    this.#timer = this.#options.clock.after(TICK_MS, () => {
      this.#tick()
      this.#schedule()
    })
  }

  #tick(): void {
    const { clock, writer } = this.#options
    if (writer.lost) return
    const nowMs = clock.wallMs()
    for (const transaction of this.#transactions.values()) {
      const { id, state, startedAtMs, changedAtMs, timeoutMs } = transaction
      if (state === 'ongoing' && nowMs >= startedAtMs + timeoutMs) {
        const aborted = abortedFor(transaction, nowMs)
        void this.#store(aborted)
        this.#finish(aborted)
      } else if (isEnding(transaction)) {
        // Told by an attempt that has failed for a reason of its own.
        if (!this.#ending.has(id)) this.#finish(transaction)
      } else if (state !== 'ongoing' && nowMs - changedAtMs > ID_SILENCE_MS) {
        this.#transactions.delete(id)
        writer.delete(keyOf(id))
      }
    }
  }
}

const UNKNOWN: { readonly fault: TransactionFault } = { fault: 'unknown-producer' }
const LOST: { readonly fault: TransactionFault } = { fault: 'lost' }

/** NUL is in no other prefix of a shard's keys like this. Never change it: stored data is found by it. */
const PREFIX = 'transaction\0'

function keyOf(id: string): string {
  return `${PREFIX}${id}`
}
