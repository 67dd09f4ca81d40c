/** FindCoordinator, JoinGroup, SyncGroup, Heartbeat and LeaveGroup. */
import { BrokerError } from '../../../core/errors.ts'
import { type Call, operationsOn } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type {
  DESCRIBE_GROUPS,
  FIND_COORDINATOR,
  HEARTBEAT,
  JOIN_GROUP,
  LEAVE_GROUP,
  SYNC_GROUP,
} from '../codec/group-apis.ts'
import { ERROR } from '../errors.ts'
import type { CoordinatedGroup } from '../groups/coordinated-group.ts'
import { failedJoin, failedSync } from '../groups/member.ts'
import { GROUP_NAME_BYTES_MAX, SESSION_MS_MAX, SESSION_MS_MIN } from '../limits.ts'
import { topicIdOf } from '../mapping.ts'

type FindResponse = ResponseOf<typeof FIND_COORDINATOR>

const OF_GROUP = 0
const OF_TRANSACTION = 1
/** Of share groups, from version 6 on (KIP-932). */
const OF_SHARE = 2
const SHARES_FROM = 6
/** JoinGroup from here on expects new members to be told their id first (KIP-394). */
const NEEDS_ID_FROM = 4
/** And from here on knows of leaders that assign nothing (KIP-814). */
const MAY_SKIP_FROM = 9
/** LeaveGroup from here on names several members (KIP-345). */
const SEVERAL_LEAVE_FROM = 3
/** The words of a client are kept for operators. */
const REASON_CHARACTERS_MAX = 255

export function findCoordinator(
  call: Call,
  { key, keys, keyType }: RequestOf<typeof FIND_COORDINATOR>,
): FindResponse {
  const isBatch = call.header.version >= 4
  const coordinators = (isBatch ? keys : [key]).map((name) => coordinatorOf(call, name, keyType))
  const [only] = coordinators
  const { errorCode, errorMessage, nodeId, host, port } = only ?? NOBODY
  return { throttleTimeMs: 0, errorCode, errorMessage, nodeId, host, port, coordinators }
}

const NOBODY = {
  errorCode: ERROR.COORDINATOR_NOT_AVAILABLE as number,
  errorMessage: null,
  ...{ nodeId: -1, host: '', port: -1 },
}

function coordinatorOf(call: Call, key: string, keyType: number) {
  const { services } = call
  if (keyType === OF_SHARE && call.header.version >= SHARES_FROM) return shareCoordinator(call, key)
  const isTransaction = keyType === OF_TRANSACTION
  if (!isTransaction && keyType !== OF_GROUP) {
    return { ...NOBODY, key, errorCode: ERROR.INVALID_REQUEST }
  }
  // Ids of transactions are bounded as names of groups are.
  const badName = isTransaction ? ERROR.INVALID_REQUEST : ERROR.INVALID_GROUP_ID
  if (!isGroupName(key)) return { ...NOBODY, key, errorCode: badName }
  const node = isTransaction
    ? services.transactions.owner(key)?.node
    : services.coordinator.nodeOf(key)
  const found = node === undefined ? undefined : services.members.find(node)
  if (found === undefined) return { ...NOBODY, key }
  return { ...found, key, errorCode: ERROR.NONE, errorMessage: null }
}

/** `GROUP:TOPIC-ID:PARTITION`: what a share group has had of a partition is known to the partition's owner. */
function shareCoordinator({ services }: Call, key: string) {
  const [, name = '', id = '', partition = ''] = /^(.*):([\w-]{22}):(\d{1,9})$/s.exec(key) ?? []
  if (!isGroupName(name)) return { ...NOBODY, key, errorCode: ERROR.INVALID_REQUEST }
  const topic = services.topics.byId(topicIdOf(Buffer.from(id, 'base64url').toString('hex')))
  const isThere = topic !== undefined && Number(partition) < topic.partitions
  const owner = isThere ? services.topics.owner(topic, Number(partition)) : undefined
  const found = owner && services.members.find(owner.node)
  if (found === undefined) return { ...NOBODY, key }
  return { ...found, key, errorCode: ERROR.NONE, errorMessage: null }
}

export function isGroupName(name: string): boolean {
  return name !== '' && !name.includes('\0') && Buffer.byteLength(name) <= GROUP_NAME_BYTES_MAX
}

/** The group, or why it cannot be worked with here. */
export async function groupAt(
  { services }: Call,
  name: string,
): Promise<CoordinatedGroup | number> {
  if (!isGroupName(name)) return ERROR.INVALID_GROUP_ID
  try {
    return (await services.coordinator.find(name)) ?? ERROR.NOT_COORDINATOR
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    return ERROR.COORDINATOR_LOAD_IN_PROGRESS
  }
}

export async function joinGroup(
  call: Call,
  request: RequestOf<typeof JOIN_GROUP>,
): Promise<ResponseOf<typeof JOIN_GROUP>> {
  const { memberId, groupInstanceId, sessionTimeoutMs: sessionMs, rebalanceTimeoutMs } = request
  const found = await groupAt(call, request.groupId)
  if (typeof found === 'number') {
    return { throttleTimeMs: 0, ...(await failedJoin(memberId, found)) }
  }
  if (sessionMs < SESSION_MS_MIN || sessionMs > SESSION_MS_MAX) {
    return { throttleTimeMs: 0, ...(await failedJoin(memberId, ERROR.INVALID_SESSION_TIMEOUT)) }
  }
  // Older versions have one time for both.
  const asked = rebalanceTimeoutMs > 0 ? rebalanceTimeoutMs : sessionMs
  // What is kept must not hold the whole request.
  const protocols = request.protocols.map(({ name, metadata }) => ({
    name,
    metadata: Buffer.from(metadata),
  }))
  const joining = {
    ...{ memberId, groupInstanceId, protocolType: request.protocolType, protocols },
    ...{ sessionMs, rebalanceMs: Math.min(asked, SESSION_MS_MAX) },
    ...{ clientId: call.header.clientId, clientHost: call.remote },
    needsId: call.header.version >= NEEDS_ID_FROM,
    maySkip: call.header.version >= MAY_SKIP_FROM,
    reason: (request.reason ?? '').slice(0, REASON_CHARACTERS_MAX),
  }
  return { throttleTimeMs: 0, ...(await found.beginClassic().join(joining)) }
}

export async function syncGroup(
  call: Call,
  request: RequestOf<typeof SYNC_GROUP>,
): Promise<ResponseOf<typeof SYNC_GROUP>> {
  const found = await groupAt(call, request.groupId)
  if (typeof found === 'number') return { throttleTimeMs: 0, ...(await failedSync(found)) }
  const assignments = request.assignments.map(({ memberId, assignment }) => ({
    ...{ memberId, assignment: Buffer.from(assignment) },
  }))
  return { throttleTimeMs: 0, ...(await found.classic.sync(request, assignments)) }
}

export async function heartbeat(
  call: Call,
  request: RequestOf<typeof HEARTBEAT>,
): Promise<ResponseOf<typeof HEARTBEAT>> {
  const found = await groupAt(call, request.groupId)
  const errorCode =
    typeof found === 'number' ? found : found.classic.heartbeat(request, request.generationId)
  return { throttleTimeMs: 0, errorCode }
}

export async function leaveGroup(
  call: Call,
  { groupId, memberId, members }: RequestOf<typeof LEAVE_GROUP>,
): Promise<ResponseOf<typeof LEAVE_GROUP>> {
  const found = await groupAt(call, groupId)
  if (typeof found === 'number') return { throttleTimeMs: 0, errorCode: found, members: [] }
  if (call.header.version < SEVERAL_LEAVE_FROM) {
    const errorCode = found.classic.leave({ memberId, groupInstanceId: null }, '')
    return { throttleTimeMs: 0, errorCode, members: [] }
  }
  const left = members.map(({ reason, ...identity }) => ({
    ...identity,
    errorCode: found.classic.leave(identity, (reason ?? '').slice(0, REASON_CHARACTERS_MAX)),
  }))
  return { throttleTimeMs: 0, errorCode: ERROR.NONE, members: left }
}

/** What the client may do was not asked for: the least number says so. */
export const UNKNOWN_OPERATIONS = -0x8000_0000
const NO_GROUP = { state: 'Dead', protocolType: '', protocolName: '', members: [] }

export async function describeGroups(
  call: Call,
  { groups, includeAuthorizedOperations: isAsked }: RequestOf<typeof DESCRIBE_GROUPS>,
): Promise<ResponseOf<typeof DESCRIBE_GROUPS>> {
  const described = groups.map(async (groupId) => {
    const found = await groupAt(call, groupId)
    const authorizedOperations = isAsked ? operationsOn(call, 'group', groupId) : UNKNOWN_OPERATIONS
    const rest = { groupId, authorizedOperations, errorMessage: null }
    if (typeof found === 'number') return { ...NO_GROUP, ...rest, errorCode: found }
    const { group } = found
    const isClassic = found.isKnown && group.kind === 'classic'
    if (isClassic) return { ...group.view, ...rest, errorCode: ERROR.NONE }
    // Older versions have a state for it (KIP-1043).
    if (call.header.version < 6) return { ...NO_GROUP, ...rest, errorCode: ERROR.NONE }
    const errorMessage = `there is no classic group ${groupId}`
    return { ...NO_GROUP, ...rest, errorMessage, errorCode: ERROR.GROUP_ID_NOT_FOUND }
  })
  return { throttleTimeMs: 0, groups: await Promise.all(described) }
}
