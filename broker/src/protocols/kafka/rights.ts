/**
 * The right to each API, as Kafka's authoriser asks for it. What is about topics is asked for where each of them is
 * looked at (`within`); the rest is asked here, so that no handler is reached without it.
 */
import type { Operation, Subject } from '../../security/access.ts'
import { CLUSTER_NAME } from './acls.ts'
import { type Call, may, maySee } from './call.ts'
import type { Api } from './codec/api.ts'
import { ERROR } from './errors.ts'

type Body = Readonly<Record<string, unknown>>
export type Answer = (request: Body) => unknown

export interface Right {
  /** For people: what is asked for. */
  readonly says: string
  /** Answers in the place of the handler, or lets it answer, perhaps about less. */
  readonly guard: (call: Call, api: Api, answer: Answer) => Answer
}

const CODES: Readonly<Record<Subject, number>> = {
  address: ERROR.TOPIC_AUTHORIZATION_FAILED,
  group: ERROR.GROUP_AUTHORIZATION_FAILED,
  'transactional-id': ERROR.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
  cluster: ERROR.CLUSTER_AUTHORIZATION_FAILED,
}

const unguarded: Right['guard'] = (_call, _api, answer) => answer

const anybody: Right = { says: 'anybody', guard: unguarded }

/** The handler asks, for each topic. */
function within(says: string): Right {
  return { says, guard: unguarded }
}

/** All of it, or an answer that says nothing but the error. */
function whole(operation: Operation, on: Subject, nameOf: (request: Body) => unknown): Right {
  return {
    says: `${operation} on the ${on}`,
    guard: (call, api, answer) => (request) => {
      if (may(call, operation, [on, String(nameOf(request))])) return answer(request)
      return { ...(api.response.absent as Body), errorCode: CODES[on] }
    },
  }
}

const onCluster = (operation: Operation): Right => whole(operation, 'cluster', () => CLUSTER_NAME)
const onGroup = (operation: Operation): Right => whole(operation, 'group', ({ groupId }) => groupId)

/** Each that is named in a list; of those that are denied it is told in their places. */
function eachGroup(
  operation: Operation,
  { asked, answered, denied = {} }: { asked: string; answered: string; denied?: Body },
): Right {
  return {
    says: `${operation} on each group`,
    guard: (call, _api, answer) => async (request) => {
      const names = request[asked] as readonly string[]
      const isAllowed = names.map((name) => may(call, operation, ['group', name]))
      const found = (await answer({
        ...{ ...request, [asked]: names.filter((_, at) => isAllowed[at]) },
      })) as Body
      const rest = [...(found[answered] as readonly Body[])]
      const errorCode = ERROR.GROUP_AUTHORIZATION_FAILED
      const all = names.map((groupId, at) =>
        isAllowed[at] ? rest.shift() : { ...denied, groupId, errorCode },
      )
      return { ...found, [answered]: all }
    },
  }
}

/** Of what a pattern matches only topics count that the client may see: the group leaves the others out. */
const inNewGroup: Right = {
  says: 'subscribe on the group, describe on each topic that is named',
  guard: (call, api, answer) =>
    onGroup('subscribe').guard(call, api, (request) => {
      const names = (request['subscribedTopicNames'] ?? []) as readonly string[]
      if (names.every((name) => maySee(call, name))) return answer(request)
      return { ...(api.response.absent as Body), errorCode: CODES.address }
    }),
}

interface Topics {
  readonly topics: readonly (Body & { readonly partitions: readonly Body[] })[]
}

/** Error codes are told for each partition. */
const commitOffsets: Right = {
  says: 'subscribe on the group, and on each topic',
  guard: (call, api, answer) => (request) => {
    if (may(call, 'subscribe', ['group', String(request['groupId'])])) return answer(request)
    const errorCode = ERROR.GROUP_AUTHORIZATION_FAILED
    const topics = (request as unknown as Topics).topics.map((topic) => ({
      ...topic,
      partitions: topic.partitions.map(({ index }) => ({ index, errorCode })),
    }))
    return { ...(api.response.absent as Body), topics }
  },
}

/** Of one group, and in newer versions of several. */
const fetchOffsets: Right = {
  says: 'describe on each group, and on each topic',
  guard: (call, api, answer) => async (request) => {
    const mayFetch = (name: unknown) => may(call, 'describe', ['group', String(name)])
    const errorCode = ERROR.GROUP_AUTHORIZATION_FAILED
    const groups = request['groups'] as readonly Body[] | undefined
    if (groups === undefined || call.header.version < 8) {
      return mayFetch(request['groupId'])
        ? answer(request)
        : { ...(api.response.absent as Body), errorCode }
    }
    const isAllowed = groups.map(({ groupId }) => mayFetch(groupId))
    const allowed = groups.filter((_, at) => isAllowed[at])
    const found = (await answer({ ...request, groups: allowed })) as Body
    const rest = [...(found['groups'] as readonly Body[])]
    const all = groups.map(({ groupId }, at) =>
      isAllowed[at] ? rest.shift() : { groupId, topics: [], errorCode },
    )
    return { ...found, groups: all }
  },
}

const describeShareOffsets: Right = {
  says: 'describe on each group, and on each topic',
  guard: (call, _api, answer) => async (request) => {
    const asked = request['groups'] as readonly Body[]
    const isAllowed = asked.map(({ groupId }) => may(call, 'describe', ['group', String(groupId)]))
    const groups = asked.filter((_, at) => isAllowed[at])
    const found = (await answer({ ...request, groups })) as Body
    const rest = [...(found['groups'] as readonly Body[])]
    const denied = { topics: [], errorCode: ERROR.GROUP_AUTHORIZATION_FAILED, errorMessage: null }
    const all = asked.map(({ groupId }, at) =>
      isAllowed[at] ? rest.shift() : { groupId, ...denied },
    )
    return { ...found, groups: all }
  },
}

const listGroups: Right = {
  says: 'describe on each group, or on the cluster',
  guard: (call, _api, answer) => async (request) => {
    const found = (await answer(request)) as Body
    const { access } = call.identity
    if (access === undefined || access.may('describe', 'cluster', CLUSTER_NAME)) return found
    const groups = (found['groups'] as readonly Body[]).filter(({ groupId }) =>
      access.may('describe', 'group', String(groupId)),
    )
    return { ...found, groups }
  },
}

const COORDINATED: readonly Subject[] = ['group', 'transactional-id']
/** Keys of share groups name their group first. */
const OF_SHARE_GROUP = 2

const findCoordinator: Right = {
  says: 'describe on each group or transactional id',
  guard: (call, _api, answer) => async (request) => {
    const keyType = Number(request['keyType'])
    const on = keyType === OF_SHARE_GROUP ? 'group' : COORDINATED[keyType]
    if (on === undefined) return answer(request)
    const isBatch = call.header.version >= 4
    const keys = isBatch ? (request['keys'] as readonly string[]) : [String(request['key'])]
    const nameOf = (key: string) => (keyType === OF_SHARE_GROUP ? (key.split(':')[0] ?? '') : key)
    const isAllowed = keys.map((key) => may(call, 'describe', [on, nameOf(key)]))
    const denied = { nodeId: -1, host: '', port: -1, errorCode: CODES[on], errorMessage: null }
    if (!isBatch) return isAllowed[0] ? answer(request) : { ...NO_TIME, ...denied }
    const allowed = keys.filter((_, at) => isAllowed[at])
    const found = (await answer({ ...request, keys: allowed })) as Body
    const rest = [...(found['coordinators'] as readonly Body[])]
    const coordinators = keys.map((key, at) => (isAllowed[at] ? rest.shift() : { ...denied, key }))
    return { ...found, coordinators }
  },
}

const NO_TIME = { throttleTimeMs: 0, coordinators: [] }

/** Whoever may write anywhere may do so without repeats. */
const initProducerId: Right = {
  says: 'publish on the transactional id; without one, on some topic, or idempotent-write',
  guard: (call, api, answer) => (request) => {
    const { access } = call.identity
    const name = request['transactionalId'] as string | null
    const on = name === null ? 'cluster' : 'transactional-id'
    const isAllowed =
      name === null
        ? access === undefined ||
          access.mayWithAny('publish', 'address') ||
          may(call, 'idempotent-write', ['cluster', CLUSTER_NAME])
        : may(call, 'publish', ['transactional-id', name])
    if (isAllowed) return answer(request)
    const { absent } = api.response
    return { ...(absent as Body), errorCode: CODES[on], producerId: -1, producerEpoch: -1 }
  },
}

const alterScram: Right = {
  says: 'alter on the cluster',
  guard: (call, api, answer) => (request) => {
    if (may(call, 'alter', ['cluster', CLUSTER_NAME])) return answer(request)
    const asked = ['deletions', 'upsertions'].flatMap((part) => request[part] as readonly Body[])
    const errorCode = ERROR.CLUSTER_AUTHORIZATION_FAILED
    const users = new Set(asked.map(({ name }) => name))
    const results = Array.from(users, (user) => ({ user, errorCode, errorMessage: 'not allowed' }))
    return { ...(api.response.absent as Body), results }
  },
}

/** Before version 3 there is no place for an error: it tells of nothing then, as Kafka does. */
const logDirs: Right = onCluster('describe')

const NO_GROUP = {
  ...{ state: '', groupState: '', protocolType: '', protocolName: '', members: [] },
  ...{ errorMessage: null, groupEpoch: 0, assignmentEpoch: 0, assignorName: '' },
  authorizedOperations: -0x8000_0000,
}

/** Of a transactional id, and perhaps a group; told for each partition, where that is the only place for an error. */
function inTransaction({ group = false, perPartition = false } = {}): Right {
  return {
    says: `publish on the transactional id${group ? ', subscribe on the group' : ''}${perPartition ? ', and the topics’ own rights' : ''}`,
    guard: (call, api, answer) => (request) => {
      const { transactionalId, groupId } = request
      const mayWrite = may(call, 'publish', ['transactional-id', String(transactionalId)])
      if (mayWrite && (!group || may(call, 'subscribe', ['group', String(groupId)]))) {
        return answer(request)
      }
      const errorCode = CODES[mayWrite ? 'group' : 'transactional-id']
      if (!perPartition) return { ...(api.response.absent as Body), errorCode }
      const asked = request['topics'] as readonly (Body & { partitions: readonly unknown[] })[]
      const topics = asked.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map((one) => ({
          index: typeof one === 'number' ? one : (one as Body)['index'],
          errorCode,
        })),
      }))
      return { ...(api.response.absent as Body), topics }
    },
  }
}

const describeTransactions: Right = {
  says: 'describe on each transactional id',
  guard: (call, _api, answer) => async (request) => {
    const ids = request['transactionalIds'] as readonly string[]
    const isAllowed = ids.map((id) => may(call, 'describe', ['transactional-id', id]))
    const transactionalIds = ids.filter((_, at) => isAllowed[at])
    const found = (await answer({ ...request, transactionalIds })) as Body
    const rest = [...(found['transactionStates'] as readonly Body[])]
    const errorCode = CODES['transactional-id']
    const transactionStates = ids.map((transactionalId, at) =>
      isAllowed[at] ? rest.shift() : { ...NO_TRANSACTION, transactionalId, errorCode },
    )
    return { ...found, transactionStates }
  },
}

const NO_TRANSACTION = {
  ...{ transactionState: '', transactionTimeoutMs: 0, transactionStartTimeMs: -1 },
  ...{ producerId: -1, producerEpoch: -1, topics: [] },
}

const listTransactions: Right = {
  says: 'describe on each transactional id; others are not listed',
  guard: (call, _api, answer) => async (request) => {
    const found = (await answer(request)) as Body
    const { access } = call.identity
    const transactionStates = (found['transactionStates'] as readonly Body[]).filter(
      ({ transactionalId }) =>
        access === undefined || access.may('describe', 'transactional-id', String(transactionalId)),
    )
    return { ...found, transactionStates }
  },
}

/** Without a place for an error but each partition. */
const writeMarkers: Right = {
  says: 'alter on the cluster',
  guard: (call, _api, answer) => (request) => {
    if (may(call, 'alter', ['cluster', CLUSTER_NAME])) return answer(request)
    const errorCode = ERROR.CLUSTER_AUTHORIZATION_FAILED
    const asked = request['markers'] as readonly (Body & {
      topics: readonly { name: string; partitions: readonly number[] }[]
    })[]
    const markers = asked.map(({ producerId, topics }) => ({
      producerId,
      topics: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map((index) => ({ index, errorCode })),
      })),
    }))
    return { markers }
  },
}

/** By key. An API that is not here is not served: a test compares. */
export const RIGHTS: ReadonlyMap<number, Right> = new Map<number, Right>([
  [0, within('publish on each topic, and on the transactional id')],
  [1, within('subscribe on each topic')],
  [2, within('describe on each topic')],
  [3, within('describe on each topic; to make one, create on it or on the cluster')],
  [8, commitOffsets],
  [9, fetchOffsets],
  [10, findCoordinator],
  [11, onGroup('subscribe')],
  [12, onGroup('subscribe')],
  [13, onGroup('subscribe')],
  [14, onGroup('subscribe')],
  [15, eachGroup('describe', { asked: 'groups', answered: 'groups', denied: NO_GROUP })],
  [16, listGroups],
  [17, anybody],
  [18, anybody],
  [19, within('create on each topic, or on the cluster')],
  [20, within('delete on each topic')],
  [21, within('delete on each topic')],
  [22, initProducerId],
  [23, within('describe on each topic')],
  [24, inTransaction({ perPartition: true })],
  [25, inTransaction({ group: true })],
  [26, inTransaction()],
  [27, writeMarkers],
  [28, inTransaction({ group: true, perPartition: true })],
  [29, onCluster('describe')],
  [30, onClusterEach('alter', { asked: 'creations', answered: 'results' })],
  [31, onClusterEach('alter', { asked: 'filters', answered: 'filterResults' })],
  [32, within('describe-configs on each topic or group, or on the cluster')],
  [33, within('alter-configs on each topic or group, or on the cluster')],
  [35, logDirs],
  [36, anybody],
  [37, within('alter on each topic')],
  [42, eachGroup('delete', { asked: 'groups', answered: 'results' })],
  [43, onCluster('alter')],
  [44, within('alter-configs on each topic or group, or on the cluster')],
  [45, onCluster('alter')],
  [46, onCluster('describe')],
  [47, onGroup('delete')],
  [48, onCluster('describe-configs')],
  [49, onClusterEach('alter-configs', { asked: 'entries', answered: 'entries' })],
  [50, onCluster('describe')],
  [51, alterScram],
  [57, onCluster('alter')],
  [60, anybody],
  [61, within('subscribe on each topic')],
  [65, describeTransactions],
  [66, listTransactions],
  [68, inNewGroup],
  [69, eachGroup('describe', { asked: 'groupIds', answered: 'groups', denied: NO_GROUP })],
  [71, anybody],
  [72, anybody],
  [74, onCluster('describe-configs')],
  [75, within('describe on each topic')],
  [76, inNewGroup],
  [77, eachGroup('describe', { asked: 'groupIds', answered: 'groups', denied: NO_GROUP })],
  [78, onGroup('subscribe')],
  [79, onGroup('subscribe')],
  [90, describeShareOffsets],
  [91, onGroup('subscribe')],
  [92, onGroup('delete')],
])

/** It has no place for an error but each result. */
function onClusterEach(
  operation: Operation,
  { asked, answered }: { asked: string; answered: string },
): Right {
  return {
    says: `${operation} on the cluster`,
    guard: (call, api, answer) => (request) => {
      if (may(call, operation, ['cluster', CLUSTER_NAME])) return answer(request)
      const errorCode = ERROR.CLUSTER_AUTHORIZATION_FAILED
      const refused = { errorCode, errorMessage: 'not allowed', matchingAcls: [] }
      const results = (request[asked] as readonly Body[]).map((one) => ({ ...one, ...refused }))
      return { ...(api.response.absent as Body), [answered]: results }
    },
  }
}
