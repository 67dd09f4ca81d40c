/**
 * Finds the message that a receiver gets next: what came back first, then what nobody has looked at, of the
 * highest priority that has any. On the way it lets go what has expired or was tried too often.
 */
import type { NewRecord } from '@robust/storage-adapters'
import type { Entry } from './entry.ts'
import { expiresAtMs, isExpired } from './expiry.ts'
import type { Lane } from './lane.ts'
import type { QueueStore } from './queue-store.ts'

export interface Demand {
  /** Has several messages of one ordered group at once. */
  readonly receiver: object
  readonly matches: ((record: NewRecord) => boolean) | undefined
  /** The group of the message before, when more of it are wanted. */
  readonly group: string | undefined
}

export interface Picked {
  readonly entry: Entry
  readonly record: NewRecord
}

export interface PickerOptions {
  readonly store: QueueStore
  /** Of a message that is not to be given out any more. Within a transaction. */
  readonly dismiss: (entry: Entry, reason: 'expired' | 'deliveries') => void
}

/** Messages that are looked at and passed over, at most: for their group, or since nobody wanted them. */
const PARKED_MAX = 20_000
const PASSED_MAX = 10_000

export class QueuePicker {
  readonly #options: PickerOptions

  constructor(options: PickerOptions) {
    this.#options = options
  }

  /** Called by one at a time. Rejects with a StorageError. */
  async next(demand: Demand): Promise<Picked | undefined> {
    const { store } = this.#options
    const following = demand.group && (await this.#following(demand, demand.group))
    if (following) return following
    for (const lane of store.lanes) {
      const found = (await this.#back(lane, demand, false)) ?? (await this.#unseen(lane, demand))
      if (found !== undefined) return found
    }
    if (!store.policy.fair) return undefined
    // Nobody else has anything: those who took more than their share go on.
    for (const lane of store.lanes) {
      const found = await this.#back(lane, demand, true)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** What has expired at the head of each lane, and of what came back. */
  async sweep(): Promise<void> {
    const { store } = this.#options
    for (const lane of store.lanes) {
      for (const entry of [...lane.entries.values()]) {
        if (entry.state === 'ready' || entry.state === 'parked') this.#dismissed(entry)
      }
      while (lane.next < lane.end) {
        const offset = lane.next
        const record = await lane.record(offset)
        if (record !== undefined && !isExpired(expiresAtMs(record, store.policy), store.nowMs))
          break
        const picked = await this.#look(lane)
        if (picked !== undefined) this.#dismissed(picked.entry)
      }
    }
  }

  /** The next message of the group that the receiver has already begun. */
  async #following(demand: Demand, group: string): Promise<Picked | undefined> {
    const { store } = this.#options
    const entry = store.ordering.following(group, demand.receiver)
    if (entry === undefined || this.#dismissed(entry)) return undefined
    const record = await store.lane(entry.level).record(entry.offset)
    if (record === undefined || entry.state !== 'parked' || !store.isHere(entry)) return undefined
    return demand.matches?.(record) === false ? undefined : { entry, record }
  }

  async #back(lane: Lane, demand: Demand, noisy: boolean): Promise<Picked | undefined> {
    const { store } = this.#options
    const { fair } = store.policy
    for (let at = 0; ; ) {
      const entry = lane.ready.at(at)
      if (entry === undefined) return undefined
      if (this.#dismissed(entry)) continue
      if (fair && !noisy && store.fairness.isNoisy(entry.group)) {
        at++
        continue
      }
      const record = await lane.record(entry.offset)
      if (entry.state !== 'ready' || !store.isHere(entry)) continue
      if (record === undefined) {
        store.transact(() => store.finish(entry))
      } else if (demand.matches?.(record) === false) {
        at++
      } else {
        return { entry, record }
      }
    }
  }

  async #unseen(lane: Lane, demand: Demand): Promise<Picked | undefined> {
    const { store } = this.#options
    const { fair } = store.policy
    while (lane.next < lane.end) {
      if (store.parked >= PARKED_MAX || lane.ready.size >= PASSED_MAX) return undefined
      const picked = await this.#look(lane)
      if (picked === undefined) continue
      const { entry, record } = picked
      if (this.#dismissed(entry)) continue
      if (!store.ordering.mayGo(entry, demand.receiver)) {
        store.park(entry)
        continue
      }
      const isWanted = demand.matches?.(record) !== false
      if (isWanted && !(fair && store.fairness.isNoisy(entry.group))) return picked
      store.makeReady(entry)
    }
    return undefined
  }

  /** Looks at the message at the lane's `next`. Undefined: there is none there to be given out. */
  async #look(lane: Lane): Promise<Picked | undefined> {
    const offset = lane.next
    if (lane.gone.has(offset) || lane.entries.has(offset)) {
      lane.advance()
      return undefined
    }
    const record = await lane.record(offset)
    if (lane.next !== offset) return undefined
    if (lane.gone.has(offset) || lane.entries.has(offset) || record === undefined) {
      lane.advance()
      return undefined
    }
    return { entry: this.#options.store.enter(lane, record), record }
  }

  #dismissed(entry: Entry): boolean {
    const { store, dismiss } = this.#options
    const { deliveriesMax } = store.policy
    const expired = isExpired(entry.expiresAtMs, store.nowMs)
    if (!expired && (deliveriesMax === undefined || entry.deliveries < deliveriesMax)) return false
    store.transact(() => dismiss(entry, expired ? 'expired' : 'deliveries'))
    return true
  }
}
