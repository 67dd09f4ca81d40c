/**
 * Ordered groups: of each group the messages are given out one after the other, or several at once to one
 * receiver, and the next ones when those are done. Other groups go on meanwhile.
 */
import { SortedList } from '../core/sorted-list.ts'
import { compareEntries, type Entry } from './entry.ts'

interface Group {
  readonly members: SortedList<Entry>
  leased: number
  /** Whose those are. */
  receiver: object | undefined
}

export class Ordering {
  readonly #groups = new Map<string, Group>()

  get size(): number {
    return this.#groups.size
  }

  /** A message of the group has been looked at. */
  enter(entry: Entry): void {
    let group = this.#groups.get(entry.group)
    if (group === undefined) {
      group = { members: new SortedList(compareEntries), leased: 0, receiver: undefined }
      this.#groups.set(entry.group, group)
    }
    group.members.add(entry)
    if (entry.state === 'leased') group.leased++
  }

  /** Whether the message is the next one of its group; `receiver` has those that are out already. */
  mayGo(entry: Entry, receiver?: object): boolean {
    const group = this.#groups.get(entry.group)
    if (group === undefined) return true
    if (group.leased > 0 && (receiver === undefined || group.receiver !== receiver)) return false
    return group.members.at(group.leased) === entry
  }

  /** The message of the group that follows those that the receiver has already. */
  following(name: string, receiver: object): Entry | undefined {
    const group = this.#groups.get(name)
    if (group === undefined || group.receiver !== receiver) return undefined
    const next = group.members.at(group.leased)
    return next?.state === 'parked' ? next : undefined
  }

  taken(entry: Entry, receiver: object): void {
    const group = this.#groups.get(entry.group)
    if (group === undefined) return
    group.leased++
    group.receiver = receiver
  }

  /** A lease has ended. Returns the message that may go now: this one, or one before it. */
  returned(entry: Entry): Entry | undefined {
    const group = this.#groups.get(entry.group)
    if (group === undefined) return undefined
    group.leased--
    return this.#nextOf(group)
  }

  /** The message is done or leaves. Returns the message that may go now. */
  left(entry: Entry, wasLeased: boolean): Entry | undefined {
    const group = this.#groups.get(entry.group)
    if (group === undefined) return undefined
    group.members.delete(entry)
    if (wasLeased) group.leased--
    if (group.members.size > 0) return this.#nextOf(group)
    this.#groups.delete(entry.group)
    return undefined
  }

  clear(): void {
    this.#groups.clear()
  }

  #nextOf(group: Group): Entry | undefined {
    if (group.leased > 0) return undefined
    group.receiver = undefined
    const first = group.members.first
    return first?.state === 'parked' ? first : undefined
  }
}
