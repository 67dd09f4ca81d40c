/**
 * Who has been silent for too long. Counts from the receipt of heartbeats on a monotonic clock, on the
 * leader only, and logs nothing but removals. A new leader starts with a full time-out for everyone.
 */
import type { NodeEntry } from '../metadata/state.ts'

export interface LivenessOptions {
  readonly ttlMs: number
  /** How often `tick` is called. */
  readonly tickMs: number
  /** Monotonic. */
  readonly nowMs: () => number
  readonly nodes: () => Iterable<NodeEntry>
  /** Commits the removal. A rejection is tried again. */
  readonly remove: (node: NodeEntry, silenceMs: number) => Promise<void>
}

interface Contact {
  readonly nodeEpoch: number
  readonly atMs: number
}

/** A tick that comes later than this many intervals was held up by a pause of this process. */
const LATE_TICKS = 10

export class Liveness {
  readonly #options: LivenessOptions
  readonly #contacts = new Map<string, Contact>()
  readonly #removing = new Set<string>()
  #lastTickMs: number
  /**
   * Time during which this process could have received heartbeats: a pause of its own (SIGSTOP, a slow
   * event loop) does not count, lest everyone be removed for it.
   */
  #observedMs = 0

  constructor(options: LivenessOptions) {
    this.#options = options
    this.#lastTickMs = options.nowMs()
  }

  /** Anything that proves that the node lives: a heartbeat, or its registration. */
  contact(nodeId: string, nodeEpoch: number): void {
    const atMs = this.#observe()
    const known = this.#contacts.get(nodeId)
    if (known === undefined || known.nodeEpoch <= nodeEpoch) {
      this.#contacts.set(nodeId, { nodeEpoch, atMs })
    }
  }

  tick(): void {
    const nowMs = this.#observe()
    const members = new Set<string>()
    for (const node of this.#options.nodes()) {
      members.add(node.nodeId)
      const contact = this.#contacts.get(node.nodeId)
      if (contact?.nodeEpoch !== node.nodeEpoch) {
        // Seen for the first time, by a new leader or after its registration: a full time-out from here.
        this.#contacts.set(node.nodeId, { nodeEpoch: node.nodeEpoch, atMs: nowMs })
        continue
      }
      const silenceMs = nowMs - contact.atMs
      if (silenceMs > this.#options.ttlMs) this.#expire(node, silenceMs)
    }
    for (const nodeId of this.#contacts.keys()) {
      if (!members.has(nodeId)) this.#contacts.delete(nodeId)
    }
  }

  #observe(): number {
    const nowMs = this.#options.nowMs()
    const lateMs = this.#options.tickMs * LATE_TICKS
    this.#observedMs += Math.min(nowMs - this.#lastTickMs, lateMs)
    this.#lastTickMs = nowMs
    return this.#observedMs
  }

  #expire(node: NodeEntry, silenceMs: number): void {
    if (this.#removing.has(node.nodeId)) return
    this.#removing.add(node.nodeId)
    void this.#options
      .remove(node, Math.round(silenceMs))
      // Not removed: the next tick asks again.
      .catch(() => undefined)
      .finally(() => this.#removing.delete(node.nodeId))
  }
}
