/** ListGroups and DeleteGroups. */
import { BrokerError } from '../../../core/errors.ts'
import type { Call } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { DELETE_GROUPS, LIST_GROUPS } from '../codec/group-apis.ts'
import { ERROR } from '../errors.ts'
import { groupAt } from './groups.ts'

/** Those that are coordinated here: a client asks every broker. Names in the filters are of any case. */
export async function listGroups(
  { services }: Call,
  { statesFilter, typesFilter }: RequestOf<typeof LIST_GROUPS>,
): Promise<ResponseOf<typeof LIST_GROUPS>> {
  try {
    const groups = (await services.coordinator.all()).map(([groupId, { group }]) => ({
      ...{ groupId, protocolType: group.protocolType },
      ...{ groupState: group.summary.state, groupType: TYPES[group.kind] },
    }))
    const listed = groups.filter(
      ({ groupState, groupType }) =>
        passes(statesFilter, groupState) && passes(typesFilter, groupType),
    )
    return { throttleTimeMs: 0, errorCode: ERROR.NONE, groups: listed }
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    return { throttleTimeMs: 0, errorCode: ERROR.COORDINATOR_LOAD_IN_PROGRESS, groups: [] }
  }
}

/** The words of Kafka's tools. */
const TYPES = { classic: 'Classic', consumer: 'Consumer', share: 'Share' } as const

function passes(filter: readonly string[], value: string): boolean {
  if (filter.length === 0) return true
  return filter.some((wanted) => wanted.toLowerCase() === value.toLowerCase())
}

export async function deleteGroups(
  call: Call,
  { groups }: RequestOf<typeof DELETE_GROUPS>,
): Promise<ResponseOf<typeof DELETE_GROUPS>> {
  const results = await Promise.all(
    groups.map(async (groupId) => ({ groupId, errorCode: await deleteGroup(call, groupId) })),
  )
  return { throttleTimeMs: 0, results }
}

async function deleteGroup(call: Call, name: string): Promise<number> {
  const found = await groupAt(call, name)
  if (typeof found === 'number') return found
  if (!found.isKnown) return ERROR.GROUP_ID_NOT_FOUND
  if (!found.group.isIdle) return ERROR.NON_EMPTY_GROUP
  const isDeleted = await call.services.coordinator.delete(name, found)
  return isDeleted ? ERROR.NONE : ERROR.NOT_COORDINATOR
}
