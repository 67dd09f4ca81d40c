/** FindCoordinator, JoinGroup, SyncGroup, Heartbeat and LeaveGroup. */
import type { Call } from '../call.ts'
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
import type { CoordinatedGroup } from '../groups/coordinator.ts'
import { failedJoin, failedSync } from '../groups/group.ts'
import { GROUP_NAME_BYTES_MAX, SESSION_MS_MAX, SESSION_MS_MIN } from '../limits.ts'

type FindResponse = ResponseOf<typeof FIND_COORDINATOR>

const OF_GROUP = 0
const OF_TRANSACTION = 1
/** JoinGroup from here on expects new members to be told their id first (KIP-394). */
const NEEDS_ID_FROM = 4

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

function coordinatorOf({ services }: Call, key: string, keyType: number) {
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

export function isGroupName(name: string): boolean {
  return name !== '' && !name.includes('\0') && Buffer.byteLength(name) <= GROUP_NAME_BYTES_MAX
}

/** The group, or why it cannot be worked with here. */
export function groupAt({ services }: Call, name: string): CoordinatedGroup | number {
  if (!isGroupName(name)) return ERROR.INVALID_GROUP_ID
  return services.coordinator.find(name) ?? ERROR.NOT_COORDINATOR
}

export async function joinGroup(
  call: Call,
  request: RequestOf<typeof JOIN_GROUP>,
): Promise<ResponseOf<typeof JOIN_GROUP>> {
  const { memberId, sessionTimeoutMs: sessionMs, rebalanceTimeoutMs, protocolType } = request
  const found = groupAt(call, request.groupId)
  if (typeof found === 'number')
    return { throttleTimeMs: 0, ...(await failedJoin(memberId, found)) }
  if (sessionMs < SESSION_MS_MIN || sessionMs > SESSION_MS_MAX) {
    return { throttleTimeMs: 0, ...(await failedJoin(memberId, ERROR.INVALID_SESSION_TIMEOUT)) }
  }
  // Older versions have one time for both.
  const asked = rebalanceTimeoutMs > 0 ? rebalanceTimeoutMs : sessionMs
  const rebalanceMs = Math.min(asked, SESSION_MS_MAX)
  const needsId = call.header.version >= NEEDS_ID_FROM
  // What is kept must not hold the whole request.
  const protocols = request.protocols.map(({ name, metadata }) => ({
    name,
    metadata: Buffer.from(metadata),
  }))
  const member = { memberId, clientId: call.header.clientId, clientHost: call.remote }
  const joining = { sessionMs, rebalanceMs, ...member, protocolType, protocols, needsId }
  return { throttleTimeMs: 0, ...(await found.group.join(joining)) }
}

export async function syncGroup(
  call: Call,
  request: RequestOf<typeof SYNC_GROUP>,
): Promise<ResponseOf<typeof SYNC_GROUP>> {
  const found = groupAt(call, request.groupId)
  if (typeof found === 'number') return { throttleTimeMs: 0, ...(await failedSync(found)) }
  const assignments = request.assignments.map(({ memberId, assignment }) => ({
    ...{ memberId, assignment: Buffer.from(assignment) },
  }))
  return { throttleTimeMs: 0, ...(await found.group.sync(request, assignments)) }
}

export function heartbeat(
  call: Call,
  { groupId, memberId, generationId }: RequestOf<typeof HEARTBEAT>,
): ResponseOf<typeof HEARTBEAT> {
  const found = groupAt(call, groupId)
  const errorCode =
    typeof found === 'number' ? found : found.group.heartbeat(memberId, generationId)
  return { throttleTimeMs: 0, errorCode }
}

export function leaveGroup(
  call: Call,
  { groupId, memberId }: RequestOf<typeof LEAVE_GROUP>,
): ResponseOf<typeof LEAVE_GROUP> {
  const found = groupAt(call, groupId)
  const errorCode = typeof found === 'number' ? found : found.group.leave(memberId)
  return { throttleTimeMs: 0, errorCode }
}

/** Nothing is known of rights on operations: the least number says so. */
const UNKNOWN_OPERATIONS = -0x8000_0000
const NO_GROUP = { state: 'Dead', protocolType: '', protocolName: '', members: [] }

export async function describeGroups(
  call: Call,
  { groups }: RequestOf<typeof DESCRIBE_GROUPS>,
): Promise<ResponseOf<typeof DESCRIBE_GROUPS>> {
  const described = groups.map(async (groupId) => {
    const found = groupAt(call, groupId)
    const rest = { groupId, authorizedOperations: UNKNOWN_OPERATIONS }
    if (typeof found === 'number') return { ...NO_GROUP, ...rest, errorCode: found }
    const isKnown = !found.group.isIdle || (await found.committed()).length > 0
    return { ...(isKnown ? found.group.view : NO_GROUP), ...rest, errorCode: ERROR.NONE }
  })
  return { throttleTimeMs: 0, groups: await Promise.all(described) }
}
