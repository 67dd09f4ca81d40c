/** The durable subscriptions of all sessions of a shard, by filter. */
import { FilterIndex } from '../filter-index.ts'
import { isShared } from '../groups/shared-filter.ts'
import type { Subscription } from '../message.ts'
import type { Session } from './session.ts'

export class ShardSubscriptions {
  readonly #index = new FilterIndex<{ session: Session; subscription: Subscription }>(
    ({ session }) => session.name,
  )
  readonly #counts = new Map<string, number>()

  filters(): string[] {
    return [...this.#counts.keys()]
  }

  /** Also replaces. True: the filter is new on this shard. */
  add(session: Session, subscription: Subscription): boolean {
    const { filter } = subscription
    session.subscriptions.set(filter, subscription)
    // Shared ones are matched where their group is.
    if (isShared(filter)) return false
    const result = this.#index.add(filter, { session, subscription })
    if (result === 'replaced') return false
    const count = this.#counts.get(filter) ?? 0
    this.#counts.set(filter, count + 1)
    return count === 0
  }

  /** True: no session of the shard has the filter any more. */
  remove(session: Session, filter: string): boolean {
    if (!session.subscriptions.delete(filter) || isShared(filter)) return false
    this.#index.remove(filter, session.name)
    const count = (this.#counts.get(filter) ?? 1) - 1
    if (count > 0) {
      this.#counts.set(filter, count)
      return false
    }
    this.#counts.delete(filter)
    return true
  }

  /** Each session that wants the address, with the subscriptions that say so. */
  match(address: string): Map<Session, Subscription[]> {
    const matches = new Map<Session, Subscription[]>()
    this.#index.match(address, ({ session, subscription }) => {
      const grants = matches.get(session)
      if (grants === undefined) matches.set(session, [subscription])
      else grants.push(subscription)
    })
    return matches
  }
}
