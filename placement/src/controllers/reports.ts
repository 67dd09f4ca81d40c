/** The latest runtime report of each member, and whether it can still be gone by. */
import type { placement } from '@robust/proto'
import type { NodeEntry } from '../metadata/state.ts'

export interface KeptReport {
  readonly node: NodeEntry
  readonly receivedMs: number
  /** How many this registration of the node has sent. */
  readonly count: number
  readonly report: placement.RuntimeReport
}

export interface ReportsOptions {
  /** Monotonic. */
  readonly nowMs: () => number
  readonly nodes: () => ReadonlyMap<string, NodeEntry>
  /** An older one says nothing about now. */
  readonly freshMs: number
}

export class Reports {
  readonly #options: ReportsOptions
  readonly #kept = new Map<string, KeptReport>()

  constructor(options: ReportsOptions) {
    this.#options = options
  }

  add(node: NodeEntry, report: placement.RuntimeReport): void {
    const before = this.#kept.get(node.nodeId)
    const count = before?.node.nodeEpoch === node.nodeEpoch ? before.count + 1 : 1
    const receivedMs = this.#options.nowMs()
    this.#kept.set(node.nodeId, { node, receivedMs, count, report })
  }

  /** Of members at their present registration, however old. */
  all(): readonly KeptReport[] {
    const nodes = this.#options.nodes()
    return [...this.#kept.values()].flatMap((kept) => {
      const node = nodes.get(kept.node.nodeId)
      // The node as it is now: it may be draining since.
      return node?.nodeEpoch === kept.node.nodeEpoch ? [{ ...kept, node }] : []
    })
  }

  fresh(): readonly KeptReport[] {
    const { nowMs, freshMs } = this.#options
    return this.all().filter(({ receivedMs }) => nowMs() - receivedMs <= freshMs)
  }

  /** Forgets those that are no members any more. */
  tidy(): void {
    const nodes = this.#options.nodes()
    for (const nodeId of this.#kept.keys()) if (!nodes.has(nodeId)) this.#kept.delete(nodeId)
  }
}
