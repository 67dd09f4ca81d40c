/** Changes that follow each other as one: what is true after all of them. */
import type { placement as wire } from '@robust/proto'
import type { NumberedChange } from './change-ring.ts'

/** Nodes, shards and resources in one message: encoded in a few milliseconds. */
const ITEMS_MAX = 2_000

/** In as few messages as may be, in order, each with the index of the last change in it. */
export function mergeChanges(changes: readonly NumberedChange[]): NumberedChange[] {
  const merged: NumberedChange[] = []
  let open = new Merge()
  let index = 0
  const close = (): void => {
    if (open.items > 0) merged.push({ index, change: open.take() })
    open = new Merge()
  }
  for (const each of changes) {
    if (open.items >= ITEMS_MAX || !open.fits(each.change)) close()
    open.add(each.change)
    index = each.index
  }
  close()
  return merged
}

interface Entry {
  readonly key: wire.ResourceKey
  /** Undefined: it was removed. */
  readonly now?: wire.Resource
}

class Merge {
  readonly #nodes = new Map<string, wire.Node | undefined>()
  readonly #shards = new Map<number, wire.Shard>()
  readonly #resources = new Map<string, Entry>()

  get items(): number {
    return this.#nodes.size + this.#shards.size + this.#resources.size
  }

  /** A node that went and came back must be seen to go: others wait for what it may still acknowledge. */
  fits({ nodesChanged }: wire.Change): boolean {
    return !nodesChanged.some(
      ({ nodeId }) => this.#nodes.has(nodeId) && this.#nodes.get(nodeId) === undefined,
    )
  }

  add(change: wire.Change): void {
    for (const nodeId of change.nodesRemoved) this.#nodes.set(nodeId, undefined)
    for (const node of change.nodesChanged) this.#nodes.set(node.nodeId, node)
    for (const shard of change.shardsChanged) this.#shards.set(shard.shard, shard)
    for (const key of change.resourcesRemoved) this.#resources.set(pathOf(key), { key })
    for (const now of change.resourcesChanged) this.#resources.set(pathOf(now), { key: now, now })
  }

  take(): wire.Change {
    const resources = [...this.#resources.values()]
    return {
      nodesChanged: [...this.#nodes.values()].filter((node) => node !== undefined),
      nodesRemoved: [...this.#nodes].flatMap(([nodeId, node]) => (node ? [] : [nodeId])),
      shardsChanged: [...this.#shards.values()],
      resourcesChanged: resources.flatMap(({ now }) => now ?? []),
      resourcesRemoved: resources.flatMap(({ key, now }) => (now ? [] : [key])),
    }
  }
}

function pathOf({ kind, tenant, name }: wire.ResourceKey): string {
  return `${kind}\u0000${tenant}\u0000${name}`
}
