/** The owner of a partition's shard, told as its leader; and topics by name or id, as clients name them. */
import type { Topic } from '../../../core/topics/topic-logs.ts'
import type { Services } from '../call.ts'
import { ERROR } from '../errors.ts'
import { topicIdOf } from '../mapping.ts'

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

/** Where the leaders are that an answer names; undefined: it names none (KIP-951). */
export function endpointsOf({ members }: Services, leaders: readonly (Leader | undefined)[]) {
  const ids = new Set(leaders.flatMap((leader) => leader?.leaderId ?? []))
  if (ids.size === 0) return undefined
  const known = members.all().filter(({ nodeId }) => ids.has(nodeId))
  return known.length === 0 ? undefined : known.map((node) => ({ ...node, rack: null }))
}

/** Named by an id in versions that have one, else by its name. */
export function topicOf(
  { topics }: Services,
  { name, topicId }: { readonly name: string; readonly topicId: string },
): Topic | undefined {
  return name === '' ? topics.byId(topicIdOf(topicId)) : topics.get(name)
}

/** Of what the client believes the leader's epoch to be (KIP-320); -1: it does not say. */
export function epochError(believed: number, epoch: number): number {
  if (believed === -1 || believed === epoch) return ERROR.NONE
  return believed < epoch ? ERROR.FENCED_LEADER_EPOCH : ERROR.UNKNOWN_LEADER_EPOCH
}
