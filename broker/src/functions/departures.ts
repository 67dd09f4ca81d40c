/**
 * Carries messages that leave to the queues where they go, and lets go of each when it is stored there. The move is
 * repeated until its outcome is known, under a name by which the other queue tells a repetition; the next owner
 * goes on where this one stopped.
 */
import type { NewRecord } from '@robust/storage-adapters'
import { BrokerError } from '../core/errors.ts'
import type { Clock, Timer } from '../core/ports/clock.ts'
import { HEADER, withHeaders } from '../core/queues/headers.ts'
import type { SendOutcome } from '../core/queues/queue-requests.ts'
import { deadLettered, originOf, redriven } from './dead-letter.ts'
import type { Entry } from './entry.ts'
import type { QueueStore } from './queue-store.ts'

/** Resolves with one outcome a record. Rejects with BrokerError: NOT_FOUND when there is no such queue. */
export type Forward = (
  queue: string,
  records: readonly NewRecord[],
) => Promise<readonly SendOutcome[]>

export interface DeparturesOptions {
  readonly queue: string
  readonly id: number
  readonly store: QueueStore
  readonly clock: Clock
  readonly forward: Forward
  /** Where what is redriven goes; undefined: where it came from. */
  readonly redriveTo: () => string | undefined
  /** What left is there, or is back. */
  readonly onDone: (entry: Entry, outcome: 'moved' | 'dropped' | 'stayed') => void
  readonly onError: (error: Error) => void
}

const BATCH_MAX = 64
const RETRY_MS = 1_000

export class Departures {
  readonly #options: DeparturesOptions
  #running = false
  #stopped = false
  #retry: Timer | undefined

  constructor(options: DeparturesOptions) {
    this.#options = options
  }

  start(): void {
    if (this.#running || this.#stopped || this.#retry !== undefined) return
    if (this.#options.store.leaving.size === 0) return
    this.#running = true
    void this.#run().finally(() => {
      this.#running = false
    })
  }

  stop(): void {
    this.#stopped = true
    this.#retry?.cancel()
  }

  async #run(): Promise<void> {
    const { store, onError } = this.#options
    while (!this.#stopped && store.leaving.size > 0) {
      const entries = this.#committed()
      if (entries.length === 0) break
      try {
        if (!(await this.#carry(entries))) break
      } catch (error) {
        if (!(error instanceof BrokerError)) {
          onError(error instanceof Error ? error : new Error(String(error)))
        }
        break
      }
    }
    if (this.#stopped || store.leaving.size === 0) return
    this.#retry = this.#options.clock.after(RETRY_MS, () => {
      this.#retry = undefined
      this.start()
    })
  }

  /** What is not stored yet could still be lost with this owner, and nobody was told of it. */
  #committed(): Entry[] {
    const { store } = this.#options
    const found: Entry[] = []
    for (const entry of store.leaving) {
      if (store.lane(entry.level).isStored(entry.offset)) found.push(entry)
      if (found.length === BATCH_MAX) break
    }
    return found
  }

  /** False: some have to be tried again later. */
  async #carry(entries: readonly Entry[]): Promise<boolean> {
    const byTarget = new Map<string, { entry: Entry; record: NewRecord }[]>()
    for (const entry of entries) {
      const leaving = await this.#prepare(entry)
      if (leaving === undefined) continue
      const group = byTarget.get(leaving.to)
      if (group === undefined) byTarget.set(leaving.to, [leaving])
      else group.push(leaving)
    }
    let complete = true
    for (const [to, group] of byTarget) if (!(await this.#send(to, group))) complete = false
    return complete
  }

  async #prepare(
    entry: Entry,
  ): Promise<{ entry: Entry; record: NewRecord; to: string } | undefined> {
    const { store, queue, id, redriveTo } = this.#options
    const record = await store.lane(entry.level).record(entry.offset)
    if (!store.leaving.has(entry)) return undefined
    const { reason = 'rejected' } = entry
    const isRedriven = reason === 'redrive'
    const to =
      record && (isRedriven ? (redriveTo() ?? originOf(record)) : store.policy.deadLetterQueue)
    if (record === undefined || to === undefined) {
      // Nowhere to go: the dead-letter queue was taken away meanwhile.
      this.#finish(entry, isRedriven && record !== undefined ? 'stayed' : 'dropped')
      return undefined
    }
    const { nowMs } = store
    const { deliveries } = entry
    const moved = isRedriven
      ? redriven(record, nowMs)
      : deadLettered(record, { queue, to, reason, deliveries, nowMs })
    if (moved === undefined) {
      this.#finish(entry, 'dropped')
      return undefined
    }
    const movedFrom = `${id}/${entry.level}/${entry.offset}`
    return { entry, to, record: withHeaders(moved, { [HEADER.movedFrom]: movedFrom }) }
  }

  async #send(to: string, group: readonly { entry: Entry; record: NewRecord }[]): Promise<boolean> {
    let outcomes: readonly SendOutcome[]
    try {
      const records = group.map(({ record }) => record)
      outcomes = await this.#options.forward(to, records)
    } catch (error) {
      if (!(error instanceof BrokerError) || error.code !== 'NOT_FOUND') throw error
      // It may be made again; what is redriven goes back to where it can be seen.
      for (const { entry } of group) if (entry.reason === 'redrive') this.#finish(entry, 'stayed')
      return !group.some(({ entry }) => this.#isLeaving(entry))
    }
    let complete = true
    for (const [at, { entry }] of group.entries()) {
      if (outcomes[at]?.kind === 'full') complete = false
      else this.#finish(entry, 'moved')
    }
    return complete
  }

  #isLeaving(entry: Entry): boolean {
    return this.#options.store.leaving.has(entry)
  }

  #finish(entry: Entry, outcome: 'moved' | 'dropped' | 'stayed'): void {
    const { store, onDone } = this.#options
    if (!store.leaving.has(entry)) return
    store.transact(() => {
      if (outcome === 'stayed') store.stay(entry)
      else store.finish(entry)
      onDone(entry, outcome)
    })
  }
}
