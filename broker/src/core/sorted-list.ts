/** A sorted array: cheap at both ends, a move of memory in the middle. */
export class SortedList<T> {
  readonly #compare: (a: T, b: T) => number
  #items: T[] = []
  #head = 0

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare
  }

  get size(): number {
    return this.#items.length - this.#head
  }

  get first(): T | undefined {
    return this.#items[this.#head]
  }

  at(index: number): T | undefined {
    return this.#items[this.#head + index]
  }

  /** What equals another one takes its place. */
  add(item: T): void {
    const items = this.#items
    const last = items[items.length - 1]
    if (this.size === 0 || (last !== undefined && this.#compare(last, item) < 0)) {
      items.push(item)
      return
    }
    const index = this.#indexOf(item)
    const there = items[index]
    if (there !== undefined && this.#compare(there, item) === 0) items[index] = item
    else items.splice(index, 0, item)
  }

  /** Of the first that sorts after the item, which need not be there. */
  indexAfter(item: T): number {
    const index = this.#indexOf(item)
    const there = this.#items[index]
    const isThere = there !== undefined && this.#compare(there, item) === 0
    return index - this.#head + (isThere ? 1 : 0)
  }

  /** The one that equals the item. */
  get(item: T): T | undefined {
    const there = this.#items[this.#indexOf(item)]
    return there !== undefined && this.#compare(there, item) === 0 ? there : undefined
  }

  delete(item: T): boolean {
    const index = this.#indexOf(item)
    const there = this.#items[index]
    if (there === undefined || this.#compare(there, item) !== 0) return false
    if (index === this.#head) this.#advance()
    else this.#items.splice(index, 1)
    return true
  }

  clear(): void {
    this.#items = []
    this.#head = 0
  }

  *[Symbol.iterator](): Generator<T> {
    for (let index = this.#head; index < this.#items.length; index++) yield this.#items[index] as T
  }

  #advance(): void {
    this.#head++
    if (this.#head < 64 || this.#head * 2 < this.#items.length) return
    this.#items.splice(0, this.#head)
    this.#head = 0
  }

  /** Of the first that does not sort before the item. */
  #indexOf(item: T): number {
    let low = this.#head
    let high = this.#items.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#compare(this.#items[middle] as T, item) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
