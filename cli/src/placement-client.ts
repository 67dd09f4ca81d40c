/** The Placement Center's own members: calls that change them, and backups. */
import { credentials } from '@grpc/grpc-js'
import { placement } from '@robust/proto'
import { askLeader, askNode, channelOptions, placementStatus } from './clients.ts'

export interface Center {
  /** The leader's view; undefined when nobody leads. */
  readonly leader: placement.StatusReply | undefined
  /** The best view there is: the leader's, else of the newest term. */
  readonly best: placement.StatusReply | undefined
  /** By node id, of the members that answer. */
  readonly replies: ReadonlyMap<string, placement.StatusReply>
}

/** Asks the addresses that are known, then every member that they name. */
export async function lookAtCenter(addresses: readonly string[]): Promise<Center> {
  const first = await askAll(addresses)
  const named = first.flatMap(({ members }) => members.map(({ address }) => address))
  const more = await askAll([...new Set(named)].filter((address) => !addresses.includes(address)))
  const replies = [...first, ...more]
  const newest = replies.toSorted((one, other) => other.term - one.term)
  const leader = newest.find(({ role, hasQuorum }) => role === 'leader' && hasQuorum)
  const best = leader ?? newest[0]
  return { leader, best, replies: new Map(replies.map((reply) => [reply.nodeId, reply])) }
}

async function askAll(addresses: readonly string[]): Promise<readonly placement.StatusReply[]> {
  const replies = await Promise.all(addresses.map((address) => placementStatus(address)))
  return replies.filter((reply) => reply !== undefined)
}

/** Throws like askLeader. */
export function addMember(
  addresses: readonly string[],
  request: placement.AddMemberRequest,
): Promise<placement.ChangeMemberReply> {
  return askLeader(addresses, (client, call, done) =>
    client.addMember(request, call.metadata, call.options, done),
  )
}

/** Throws like askLeader. */
export function promoteMember(
  addresses: readonly string[],
  nodeId: string,
): Promise<placement.ChangeMemberReply> {
  return askLeader(addresses, (client, call, done) =>
    client.promoteMember({ nodeId }, call.metadata, call.options, done),
  )
}

/** Throws like askLeader. */
export function removeMember(
  addresses: readonly string[],
  nodeId: string,
): Promise<placement.ChangeMemberReply> {
  return askLeader(addresses, (client, call, done) =>
    client.removeMember({ nodeId }, call.metadata, call.options, done),
  )
}

/** Throws like askLeader. */
export function transferLeadership(
  addresses: readonly string[],
  nodeId: string,
): Promise<placement.TransferLeadershipReply> {
  return askLeader(addresses, (client, call, done) =>
    client.transferLeadership({ nodeId }, call.metadata, call.options, done),
  )
}

/** Undefined when the node does not answer in time. */
export function takeSnapshot(address: string): Promise<placement.TakeSnapshotReply | undefined> {
  return askNode<placement.TakeSnapshotReply>(address, (client, call, done) =>
    client.takeSnapshot({}, call.metadata, call.options, done),
  )
}

/** Ends with the part that has the checksum; a stream that breaks throws. */
export async function* readBackup(address: string): AsyncGenerator<placement.BackupPart> {
  const client = new placement.PlacementClient(
    address,
    credentials.createInsecure(),
    channelOptions,
  )
  try {
    yield* client.backup({}) as AsyncIterable<placement.BackupPart>
  } finally {
    client.close()
  }
}
