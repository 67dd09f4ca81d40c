/**
 * The cluster's metadata as this broker knows it: a snapshot, then changes in order of their log index. Only
 * newer news count. Answers the core's questions about owners and members.
 */
import { placement } from '@robust/proto'
import type { Directory, ShardOwner } from '../core/ports/directory.ts'
import { ResourceCache } from './resource-cache.ts'

export class MetadataCache implements Directory {
  readonly self: string
  readonly resources = new ResourceCache()
  readonly #nodes = new Map<string, placement.Node>()
  readonly #shards = new Map<number, placement.Shard>()
  readonly #listeners: (() => void)[] = []
  #waiting: { readonly index: number; readonly resolve: () => void }[] = []
  #shardCount = 0
  #index = 0
  /** The last snapshot was passed over. */
  #isOld = false
  #clusterId = ''
  /** Times that everything was loaded. */
  loads = 0
  /** Changes that came one by one. */
  changes = 0

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

  /** Where the stream of changes may go on; 0: a load broke off, and everything is needed again. */
  get resumeIndex(): number {
    return this.resources.isLoading ? 0 : this.#index
  }

  /** Called when nodes or shards have changed. */
  observe(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** Everything up to the log index is known, resources included: a load is not under way. */
  knows(index: number): boolean {
    return this.#index >= index && this.#index > 0 && !this.resources.isLoading
  }

  /** Resolves when everything up to the log index is known. */
  reached(index: number): Promise<void> {
    if (this.knows(index)) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push({ index, resolve }))
  }

  replace(index: number, metadata: placement.Metadata): void {
    // A snapshot may be older than what is known, after a change to a Placement Center node that lags.
    this.#isOld = index < this.#index
    if (this.#isOld) return
    this.loads++
    this.#index = index
    this.#clusterId = metadata.clusterId
    this.#shardCount = metadata.shardCount
    this.#nodes.clear()
    this.#shards.clear()
    for (const node of metadata.nodes) this.#nodes.set(node.nodeId, node)
    for (const shard of metadata.shards) this.#shards.set(shard.shard, shard)
    this.resources.beginLoad()
    this.#changed(true)
  }

  /** Of a load that `replace` began. */
  page(page: placement.ResourcePage): void {
    if (this.#isOld) return
    this.resources.page(page)
    this.#wake()
  }

  apply(index: number, change: placement.Change): void {
    if (index <= this.#index) return
    this.changes++
    this.#index = index
    for (const node of change.nodesChanged) this.#nodes.set(node.nodeId, node)
    for (const name of change.nodesRemoved) this.#nodes.delete(name)
    for (const shard of change.shardsChanged) this.#shards.set(shard.shard, shard)
    this.resources.apply(change.resourcesChanged, change.resourcesRemoved)
    const { nodesChanged, nodesRemoved, shardsChanged } = change
    this.#changed(nodesChanged.length + nodesRemoved.length + shardsChanged.length > 0)
  }

  owner(shard: number): ShardOwner | undefined {
    const known = this.#shards.get(shard)
    if (known === undefined || !known.opened || known.owner === '') return undefined
    return { node: known.owner, epoch: known.epoch }
  }

  peers(): readonly string[] {
    return [...this.#nodes.keys()].filter((node) => node !== this.self)
  }

  /** This one included. */
  nodes(): readonly placement.Node[] {
    return [...this.#nodes.values()].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
  }

  shards(): readonly placement.Shard[] {
    return [...this.#shards.values()]
  }

  peerNodes(): placement.Node[] {
    return [...this.#nodes.values()].filter((node) => node.nodeId !== this.self)
  }

  isMember(node: string, nodeEpoch: number): boolean {
    return this.#nodes.get(node)?.nodeEpoch === nodeEpoch
  }

  /** `host:port` at which clients of a protocol reach a broker that may take them. */
  serverOf(node: string, protocol: string): string | undefined {
    const known = this.#nodes.get(node)
    if (known?.state !== placement.NodeState.NODE_STATE_ACTIVE) return undefined
    const endpoint = known.endpoints.find((each) => each.protocol === protocol)
    return endpoint && `${endpoint.host}:${endpoint.port}`
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

  #changed(isOwnership: boolean): void {
    if (isOwnership) for (const listener of this.#listeners) listener()
    this.#wake()
  }

  #wake(): void {
    if (this.resources.isLoading) return
    const due = this.#waiting.filter(({ index }) => index <= this.#index)
    this.#waiting = this.#waiting.filter(({ index }) => index > this.#index)
    for (const { resolve } of due) resolve()
  }
}
