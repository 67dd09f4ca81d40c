/**
 * A number for each of some offsets that lie close together, such as those under way to one client. An array that is
 * written over: a map that takes and frees a hundred thousand offsets a second is mostly garbage.
 */
const SLOTS_FIRST = 16
/** 64 KiB. What shares a slot even then goes into a map: one that is never acknowledged must not cost a large ring. */
const SLOTS_MAX = 4_096

export class OffsetRing {
  /** Offset and number in turn; an offset of -1 is a free slot. */
  #slots: Float64Array | undefined
  #far: Map<number, number> | undefined
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Undefined: there is none. */
  get(offset: number): number | undefined {
    const at = this.#find(offset)
    return at < 0 ? this.#far?.get(offset) : this.#slots?.[at + 1]
  }

  set(offset: number, value: number): void {
    let slots = this.#slots
    if (slots === undefined) {
      slots = emptySlots(SLOTS_FIRST)
      this.#slots = slots
    }
    let at = slotOf(offset, slots)
    while (slots[at] !== offset && slots[at] !== -1) {
      if (slots.length >= SLOTS_MAX * 2) {
        this.#setFar(offset, value)
        return
      }
      slots = grown(slots)
      this.#slots = slots
      at = slotOf(offset, slots)
    }
    if (this.#far?.delete(offset) === true) this.#size--
    if (slots[at] === -1) this.#size++
    slots[at] = offset
    slots[at + 1] = value
  }

  /** What was there. */
  delete(offset: number): number | undefined {
    const at = this.#find(offset)
    const slots = this.#slots
    if (at < 0 || slots === undefined) return this.#deleteFar(offset)
    slots[at] = -1
    this.#size--
    return slots[at + 1]
  }

  clear(): void {
    this.#slots = undefined
    this.#far = undefined
    this.#size = 0
  }

  #setFar(offset: number, value: number): void {
    this.#far ??= new Map()
    if (!this.#far.has(offset)) this.#size++
    this.#far.set(offset, value)
  }

  #deleteFar(offset: number): number | undefined {
    const value = this.#far?.get(offset)
    if (this.#far?.delete(offset) === true) this.#size--
    return value
  }

  #find(offset: number): number {
    const slots = this.#slots
    if (slots === undefined) return -1
    const at = slotOf(offset, slots)
    return slots[at] === offset ? at : -1
  }
}

/** Twice as large: what did not share a slot does not share one then. */
function grown(old: Float64Array): Float64Array {
  const slots = emptySlots(old.length)
  for (let from = 0; from < old.length; from += 2) {
    const offset = old[from] as number
    if (offset === -1) continue
    const at = slotOf(offset, slots)
    slots[at] = offset
    slots[at + 1] = old[from + 1] as number
  }
  return slots
}

/** Of `count` offsets. */
function emptySlots(count: number): Float64Array {
  return new Float64Array(count * 2).fill(-1)
}

/** The number of slots is a power of two. Offsets may exceed 32 bits; their low bits tell them apart. */
function slotOf(offset: number, slots: Float64Array): number {
  const low = offset % 0x1_0000_0000
  return (low & (slots.length / 2 - 1)) * 2
}
