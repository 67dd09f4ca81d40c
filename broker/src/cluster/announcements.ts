/**
 * Filters that every peer must know before a subscriber may be told that it is subscribed. Numbered; each
 * peer confirms in order; a number is settled when every member has confirmed it or is no member any more.
 */
interface Waiter {
  readonly sequence: number
  readonly resolve: () => void
}

export class Announcements {
  #sequence = 0
  readonly #confirmed = new Map<string, number>()
  #waiters: Waiter[] = []

  /** The number of the newest announcement. */
  get newest(): number {
    return this.#sequence
  }

  next(): number {
    this.#sequence++
    return this.#sequence
  }

  /** Members that are not named any more are not waited for; new ones have confirmed nothing. */
  members(names: readonly string[]): void {
    for (const name of this.#confirmed.keys()) {
      if (!names.includes(name)) this.#confirmed.delete(name)
    }
    for (const name of names) if (!this.#confirmed.has(name)) this.#confirmed.set(name, 0)
    this.#settle()
  }

  confirm(name: string, sequence: number): void {
    const known = this.#confirmed.get(name)
    if (known === undefined || known >= sequence) return
    this.#confirmed.set(name, sequence)
    this.#settle()
  }

  /** Resolves when everything up to now is settled. */
  settled(): Promise<void> {
    const sequence = this.#sequence
    if (this.#lowest() >= sequence) return Promise.resolve()
    return new Promise((resolve) => this.#waiters.push({ sequence, resolve }))
  }

  #lowest(): number {
    let lowest = Number.POSITIVE_INFINITY
    for (const sequence of this.#confirmed.values()) if (sequence < lowest) lowest = sequence
    return lowest
  }

  #settle(): void {
    const lowest = this.#lowest()
    const waiting: Waiter[] = []
    for (const waiter of this.#waiters) {
      if (waiter.sequence <= lowest) waiter.resolve()
      else waiting.push(waiter)
    }
    this.#waiters = waiting
  }
}
