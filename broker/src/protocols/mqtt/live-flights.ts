/**
 * Packet ids of live messages under way: counted up, looked up by their low bits. An array instead of a map,
 * since a busy subscriber takes and frees some hundred thousand of them a second.
 */
export const FlightState = { free: 0, published: 1, publishedExactlyOnce: 2, released: 3 } as const
export type FlightState = (typeof FlightState)[keyof typeof FlightState]

const PACKET_ID_MAX = 0xffff
const SLOTS_FIRST = 32

/** Of all who have had no live message yet: never written to. */
const NO_IDS = new Uint16Array(1)
const NO_STATES = new Uint8Array(1)

export class LiveFlights {
  #ids = NO_IDS
  #states = NO_STATES
  #lastId = 0
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Takes the next free id. Fewer than 65,535 may be under way. */
  add(state: FlightState): number {
    if (this.#ids === NO_IDS) {
      this.#ids = new Uint16Array(SLOTS_FIRST)
      this.#states = new Uint8Array(SLOTS_FIRST)
    }
    for (;;) {
      const id = this.#lastId === PACKET_ID_MAX ? 1 : this.#lastId + 1
      this.#lastId = id
      // Another id under way may have the same low bits; with a slot for every id it is the same id.
      while (this.#taken(id) && this.#ids[this.#slot(id)] !== id) this.#grow()
      if (this.#taken(id)) continue
      const slot = this.#slot(id)
      this.#ids[slot] = id
      this.#states[slot] = state
      this.#size++
      return id
    }
  }

  get(id: number): FlightState {
    const slot = this.#slot(id)
    return this.#ids[slot] === id ? (this.#states[slot] as FlightState) : FlightState.free
  }

  /** Of an id that is under way. */
  set(id: number, state: FlightState): void {
    this.#states[this.#slot(id)] = state
  }

  remove(id: number): void {
    const slot = this.#slot(id)
    if (this.#ids[slot] !== id || this.#states[slot] === FlightState.free) return
    this.#states[slot] = FlightState.free
    this.#size--
  }

  #slot(id: number): number {
    return id & (this.#ids.length - 1)
  }

  #taken(id: number): boolean {
    return this.#states[this.#slot(id)] !== FlightState.free
  }

  #grow(): void {
    const ids = this.#ids
    const states = this.#states
    this.#ids = new Uint16Array(ids.length * 2)
    this.#states = new Uint8Array(ids.length * 2)
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number
      if (states[i] === FlightState.free) continue
      const slot = this.#slot(id)
      this.#ids[slot] = id
      this.#states[slot] = states[i] as number
    }
  }
}
