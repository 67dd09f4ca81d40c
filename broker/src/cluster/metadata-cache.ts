/**
 * The cluster's metadata as this broker knows it: a snapshot, then changes in order of their log index. Only
 * newer news count. Answers the core's questions about owners and members.
 */
import type { placement } from '@robust/proto'
import type { Directory, ShardOwner } from '../core/ports/directory.ts'

export class MetadataCache implements Directory {
  readonly self: string
  readonly #nodes = new Map<string, placement.Node>()
  readonly #shards = new Map<number, placement.Shard>()
  readonly #listeners: (() => void)[] = []
  #waiting: { readonly index: number; readonly resolve: () => void }[] = []
  #shardCount = 0
  #index = 0
  #clusterId = ''

  constructor(self: string) {
    this.self = self
  }

  /** Log index of the newest change; 0 before the first snapshot. */
  get index(): number {
    return this.#index
  }

  get clusterId(): string {
    return this.#clusterId
  }

  get shardCount(): number {
    return this.#shardCount
  }

  observe(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** Resolves when everything up to the log index is known. */
  reached(index: number): Promise<void> {
    if (this.#index >= index) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push({ index, resolve }))
  }

  replace(index: number, metadata: placement.Metadata): void {
    // A snapshot may be older than what is known, after a change to a Placement Center node that lags.
    if (index < this.#index) return
    this.#index = index
    this.#clusterId = metadata.clusterId
    this.#shardCount = metadata.shardCount
    this.#nodes.clear()
    this.#shards.clear()
    for (const node of metadata.nodes) this.#nodes.set(node.nodeId, node)
    for (const shard of metadata.shards) this.#shards.set(shard.shard, shard)
    this.#changed()
  }

  apply(index: number, change: placement.Change): void {
    if (index <= this.#index) return
    this.#index = index
    for (const node of change.nodesChanged) this.#nodes.set(node.nodeId, node)
    for (const name of change.nodesRemoved) this.#nodes.delete(name)
    for (const shard of change.shardsChanged) this.#shards.set(shard.shard, shard)
    this.#changed()
  }

  owner(shard: number): ShardOwner | undefined {
    const known = this.#shards.get(shard)
    if (known === undefined || !known.opened || known.owner === '') return undefined
    return { node: known.owner, epoch: known.epoch }
  }

  peers(): readonly string[] {
    return [...this.#nodes.keys()].filter((node) => node !== this.self)
  }

  peerNodes(): placement.Node[] {
    return [...this.#nodes.values()].filter((node) => node.nodeId !== this.self)
  }

  isMember(node: string, nodeEpoch: number): boolean {
    return this.#nodes.get(node)?.nodeEpoch === nodeEpoch
  }

  grpcAddress(node: string): string | undefined {
    return this.#nodes.get(node)?.grpcAddress
  }

  /** Shards that the metadata gives to this broker at this registration. */
  granted(nodeEpoch: number): placement.Shard[] {
    return [...this.#shards.values()].filter(
      (shard) => shard.owner === this.self && shard.ownerEpoch === nodeEpoch,
    )
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
    const due = this.#waiting.filter(({ index }) => index <= this.#index)
    this.#waiting = this.#waiting.filter(({ index }) => index > this.#index)
    for (const { resolve } of due) resolve()
  }
}
