/** The owner of a partition's shard, told as its leader. */
import type { Topic } from '../../../core/topics/topic-logs.ts'
import type { Services } from '../call.ts'
import { ERROR } from '../errors.ts'

export interface Leader {
  readonly leaderId: number
  readonly leaderEpoch: number
}

/** Undefined: nobody owns it now. */
export function leaderOf(
  { topics, members }: Services,
  topic: Topic,
  partition: number,
): Leader | undefined {
  const owner = topics.owner(topic, partition)
  if (owner === undefined) return undefined
  return { leaderId: members.idOf(owner.node), leaderEpoch: owner.epoch & 0x7fff_ffff }
}

/** Of what the client believes the leader's epoch to be (KIP-320); -1: it does not say. */
export function epochError(believed: number, epoch: number): number {
  if (believed === -1 || believed === epoch) return ERROR.NONE
  return believed < epoch ? ERROR.FENCED_LEADER_EPOCH : ERROR.UNKNOWN_LEADER_EPOCH
}
