/** An offset that a group has committed, and the key of the group's shard that it is kept under. */

export interface CommittedOffset {
  readonly topicId: string
  readonly partition: number
  readonly offset: number
  /** -1: unknown. */
  readonly leaderEpoch: number
  readonly metadata: string
  /** Wall clock, ms. */
  readonly committedAtMs: number
}

/** NUL is in no group's name. Never change this: stored data is found by it. */
export function committedPrefix(group: string): string {
  return `consumer-offsets\0${group}\0`
}

export function committedKey(
  group: string,
  { topicId, partition }: Pick<CommittedOffset, 'topicId' | 'partition'>,
): string {
  return `${committedPrefix(group)}${topicId}\0${partition}`
}
