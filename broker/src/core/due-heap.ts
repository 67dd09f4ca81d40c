/** Things that fall due, the earliest first. What was put off or taken away stays until then: the taker checks. */
export class DueHeap<T> {
  readonly #at: number[] = []
  readonly #items: T[] = []

  get size(): number {
    return this.#at.length
  }

  /** Undefined: nothing is due ever. */
  get earliest(): number | undefined {
    return this.#at[0]
  }

  push(at: number, item: T): void {
    const ats = this.#at
    const items = this.#items
    let index = ats.length
    ats.push(at)
    items.push(item)
    while (index > 0) {
      const parent = (index - 1) >>> 1
      if ((ats[parent] as number) <= at) break
      ats[index] = ats[parent] as number
      items[index] = items[parent] as T
      index = parent
    }
    ats[index] = at
    items[index] = item
  }

  /** The earliest, when it is due. */
  pop(nowMs: number): T | undefined {
    const ats = this.#at
    const items = this.#items
    if (ats.length === 0 || (ats[0] as number) > nowMs) return undefined
    const first = items[0] as T
    const at = ats.pop() as number
    const item = items.pop() as T
    if (ats.length === 0) return first
    let index = 0
    for (;;) {
      let child = index * 2 + 1
      if (child >= ats.length) break
      if (child + 1 < ats.length && (ats[child + 1] as number) < (ats[child] as number)) child++
      if ((ats[child] as number) >= at) break
      ats[index] = ats[child] as number
      items[index] = items[child] as T
      index = child
    }
    ats[index] = at
    items[index] = item
    return first
  }

  clear(): void {
    this.#at.length = 0
    this.#items.length = 0
  }
}
