/**
 * Moves from the moment somebody wants them until the next owner serves the shard: why, to whom, and how
 * long the shard was not served. Known to this leader only; after a change of leaders a move that was begun
 * goes on as a shard without an owner.
 */
import type { MetadataState, ShardEntry } from '../metadata/state.ts'

export interface Move {
  readonly shard: number
  /** The epoch that ends with the move. */
  readonly epoch: number
  readonly from: string
  /** Undefined: whoever owns least then. */
  readonly to: string | undefined
  readonly reason: string
  /** When the owner was first told to release it. */
  begunMs: number | undefined
}

export interface FinishedMove {
  readonly shard: number
  readonly from: string
  readonly to: string
  readonly reason: string
  /** From the order to release it until the next owner had opened it: the shard was away for less. */
  readonly gapMs: number
}

export class MoveLedger {
  readonly #moves = new Map<number, Move>()

  /** Shards whose owners shall be asked. */
  get wanted(): ReadonlySet<number> {
    const open = [...this.#moves.values()].filter(({ begunMs }) => begunMs === undefined)
    return new Set(open.map(({ shard }) => shard))
  }

  get targets(): ReadonlyMap<number, string> {
    const aimed = [...this.#moves.values()].flatMap(({ shard, to }): [number, string][] =>
      to === undefined ? [] : [[shard, to]],
    )
    return new Map(aimed)
  }

  get(shard: number): Move | undefined {
    return this.#moves.get(shard)
  }

  want(move: Omit<Move, 'begunMs'>): void {
    const known = this.#moves.get(move.shard)
    if (known?.epoch === move.epoch) return
    this.#moves.set(move.shard, { ...move, begunMs: undefined })
  }

  begun(shards: readonly ShardEntry[], nowMs: number): void {
    for (const { shard, epoch } of shards) {
      const move = this.#moves.get(shard)
      if (move?.epoch === epoch) move.begunMs ??= nowMs
    }
  }

  /** Takes out what is done, and what has no point any more. */
  settle(state: MetadataState, nowMs: number): readonly FinishedMove[] {
    const finished: FinishedMove[] = []
    for (const [number, move] of this.#moves) {
      const shard = state.shards[number]
      const owner = shard?.owner
      if (shard === undefined) this.#moves.delete(number)
      else if (shard.epoch === move.epoch) {
        // Nobody was asked, and the owner was removed: it is granted like any other.
        if (owner === undefined && move.begunMs === undefined) this.#moves.delete(number)
      } else if (shard.opened && owner !== undefined) {
        this.#moves.delete(number)
        if (move.begunMs === undefined || owner.nodeId === move.from) continue
        const { from, reason } = move
        const gapMs = Math.round(nowMs - move.begunMs)
        finished.push({ shard: number, from, to: owner.nodeId, reason, gapMs })
      }
    }
    return finished
  }
}
