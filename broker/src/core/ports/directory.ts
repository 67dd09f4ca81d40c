/** Who is in the cluster and who serves which shard, as the Placement Center last told this broker. */

export interface ShardOwner {
  readonly node: string
  readonly epoch: number
}

export interface Directory {
  readonly self: string
  readonly shardCount: number
  /** The owner, once it has fenced and recovered the shard. */
  owner(shard: number): ShardOwner | undefined
  /** The other brokers. */
  peers(): readonly string[]
  isMember(node: string, nodeEpoch: number): boolean
}
