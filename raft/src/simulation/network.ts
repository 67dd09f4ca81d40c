/** The network of a simulated world: loses, delays, reorders and doubles what it carries, and has cut links. */
import type { RaftMessage, SnapshotHeader } from '../core/messages.ts'

/** Probabilities per message or write; delays in ticks. */
export interface Faults {
  readonly drop: number
  readonly duplicate: number
  readonly delayMax: number
  readonly writeDelayMax: number
  /** A write fails: whether it is on the disk is left to chance, and the process ends. */
  readonly syncError: number
}

export const NO_FAULTS: Faults = {
  drop: 0,
  duplicate: 0,
  delayMax: 0,
  writeDelayMax: 0,
  syncError: 0,
}

export type Parcel = { readonly dueTick: number } & (
  | { readonly kind: 'message'; readonly message: RaftMessage }
  | { readonly kind: 'snapshot'; readonly header: SnapshotHeader; readonly state: string }
)

interface Moment {
  readonly faults: Faults
  readonly nowTick: number
}

export class Network {
  readonly #random: () => number
  readonly #cut = new Set<string>()
  /** Hosts that take nothing at the moment. */
  readonly #held = new Set<string>()
  #parcels: Parcel[] = []

  constructor(random: () => number) {
    this.#random = random
  }

  /** In one direction only. */
  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`)
  }

  isolate(id: string, ids: readonly string[]): void {
    for (const other of ids) {
      this.cut(id, other)
      this.cut(other, id)
    }
  }

  /** Cuts all links between these hosts and the others. */
  split(side: readonly string[], ids: readonly string[]): void {
    for (const a of side) {
      for (const b of ids.filter((id) => !side.includes(id))) {
        this.cut(a, b)
        this.cut(b, a)
      }
    }
  }

  /** Each host hears only the one before it: everyone is reached, nobody is answered. */
  ring(ids: readonly string[]): void {
    for (const [at, from] of ids.entries()) {
      for (const to of ids) if (to !== ids[(at + 1) % ids.length]) this.cut(from, to)
    }
  }

  heal(): void {
    this.#cut.clear()
  }

  /** Everything works again between these hosts. */
  healAmong(ids: readonly string[]): void {
    for (const from of ids) for (const to of ids) this.#cut.delete(`${from}>${to}`)
  }

  send(message: RaftMessage, { faults, nowTick }: Moment): void {
    if (this.#isLost(message.from, message.to, faults)) return
    const copies = this.#random() < faults.duplicate ? 2 : 1
    for (let copy = 0; copy < copies; copy += 1) {
      const dueTick = nowTick + 1 + Math.floor(this.#random() * (faults.delayMax + 1))
      this.#parcels.push({ kind: 'message', dueTick, message })
    }
  }

  sendSnapshot(header: SnapshotHeader, state: string, { faults, nowTick }: Moment): void {
    if (this.#isLost(header.from, header.to, faults)) return
    const dueTick = nowTick + 1 + Math.floor(this.#random() * 8)
    this.#parcels.push({ kind: 'snapshot', dueTick, header, state })
  }

  /** What has arrived; what is for a host that is held waits. */
  due(nowTick: number): readonly Parcel[] {
    const due: Parcel[] = []
    const later: Parcel[] = []
    for (const parcel of this.#parcels) {
      const isDue = parcel.dueTick <= nowTick && !this.#held.has(receiverOf(parcel))
      if (isDue) due.push(parcel)
      else later.push(parcel)
    }
    this.#parcels = later
    return due
  }

  /** The host takes nothing until it is let go: its socket buffers fill. */
  hold(id: string): void {
    this.#held.add(id)
  }

  unhold(id: string, nowTick: number): void {
    this.#held.delete(id)
    this.#parcels = this.#parcels.map((parcel) =>
      receiverOf(parcel) === id && parcel.dueTick < nowTick
        ? { ...parcel, dueTick: nowTick }
        : parcel,
    )
  }

  /** The process ended: its connections broke, what was on its way to it is lost. */
  forget(id: string): void {
    if (!this.#held.delete(id)) return
    this.#parcels = this.#parcels.filter((parcel) => receiverOf(parcel) !== id)
  }

  #isLost(from: string, to: string, faults: Faults): boolean {
    return this.#cut.has(`${from}>${to}`) || this.#random() < faults.drop
  }
}

function receiverOf(parcel: Parcel): string {
  return parcel.kind === 'message' ? parcel.message.to : parcel.header.to
}
