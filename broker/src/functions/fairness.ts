/**
 * Fair queues: a group (a tenant) with more than its share of the messages under way waits while others have
 * something to be done. A share is noisy from a tenth of all, and 30 messages, on: as Amazon SQS tells it.
 */
const SHARE_MAX = 0.1
const IN_FLIGHT_MIN = 30

export class Fairness {
  readonly #inFlight = new Map<string, number>()
  #total = 0

  taken(group: string): void {
    this.#total++
    this.#inFlight.set(group, (this.#inFlight.get(group) ?? 0) + 1)
  }

  returned(group: string): void {
    this.#total--
    const count = (this.#inFlight.get(group) ?? 1) - 1
    if (count === 0) this.#inFlight.delete(group)
    else this.#inFlight.set(group, count)
  }

  /** What belongs to nobody is nobody's share: such messages are never passed over. */
  isNoisy(group: string): boolean {
    if (group === '') return false
    const count = this.#inFlight.get(group) ?? 0
    return count >= IN_FLIGHT_MIN && count > this.#total * SHARE_MAX
  }

  clear(): void {
    this.#inFlight.clear()
    this.#total = 0
  }
}
