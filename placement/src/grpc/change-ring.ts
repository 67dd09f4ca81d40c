/** The most recent changes, in log order, for watchers that come back. Every member keeps them. */
import type { placement as wire } from '@robust/proto'

export interface NumberedChange {
  readonly index: number
  readonly change: wire.Change
}

export class ChangeRing {
  readonly #changesMax: number
  #changes: NumberedChange[] = []
  /** Everything after this index is here. */
  #floor: number

  constructor(changesMax: number, floor = 0) {
    this.#changesMax = changesMax
    this.#floor = floor
  }

  add(change: NumberedChange): void {
    this.#changes.push(change)
    if (this.#changes.length < this.#changesMax * 2) return
    const dropped = this.#changes.splice(0, this.#changesMax)
    this.#floor = dropped.at(-1)?.index ?? this.#floor
  }

  /** The state jumped to this index; what led there is not known. */
  reset(index: number): void {
    this.#changes = []
    this.#floor = index
  }

  /** Those after an index, or undefined when some of them are gone. */
  after(index: number): readonly NumberedChange[] | undefined {
    if (index < this.#floor) return undefined
    const from = this.#changes.findIndex((change) => change.index > index)
    return from < 0 ? [] : this.#changes.slice(from)
  }
}
