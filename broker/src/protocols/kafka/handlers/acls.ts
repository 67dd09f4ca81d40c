/** DescribeAcls, CreateAcls and DeleteAcls, over the permissions that hold for every protocol. */
import { BrokerError } from '../../../core/errors.ts'
import type { StoredPermission } from '../../../security/permissions.ts'
import {
  type Binding,
  type BindingFilter,
  bindingOf,
  isFilter,
  matchesFilter,
  permissionOf,
} from '../acls.ts'
import type { Call } from '../call.ts'
import type { CREATE_ACLS, DELETE_ACLS, DESCRIBE_ACLS } from '../codec/acl-apis.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import { ERROR } from '../errors.ts'

const FINE = { errorCode: ERROR.NONE as number, errorMessage: null as string | null }

interface Found {
  readonly permission: StoredPermission
  readonly binding: Binding
}

function find({ services }: Call, filter: BindingFilter): Found[] {
  return services.permissions.all().flatMap((permission) => {
    const binding = bindingOf(permission)
    const isWanted = binding !== undefined && matchesFilter(binding, filter)
    return isWanted ? [{ permission, binding }] : []
  })
}

export function describeAcls(
  call: Call,
  filter: RequestOf<typeof DESCRIBE_ACLS>,
): ResponseOf<typeof DESCRIBE_ACLS> {
  if (!isFilter(filter)) return { ...FINE, ...NO_FILTER, throttleTimeMs: 0, resources: [] }
  const byResource = new Map<string, Binding & { readonly acls: Binding[] }>()
  for (const { binding } of find(call, filter)) {
    const { resourceType, patternType, resourceName } = binding
    const key = JSON.stringify([resourceType, patternType, resourceName])
    const resource = byResource.get(key) ?? { ...binding, acls: [] }
    byResource.set(key, resource)
    resource.acls.push(binding)
  }
  return { ...FINE, throttleTimeMs: 0, resources: [...byResource.values()] }
}

const NO_FILTER = { errorCode: ERROR.INVALID_REQUEST, errorMessage: 'no such filter' }

export async function createAcls(
  call: Call,
  { creations }: RequestOf<typeof CREATE_ACLS>,
): Promise<ResponseOf<typeof CREATE_ACLS>> {
  const asked = creations.map(permissionOf)
  const good = asked.filter((one) => typeof one !== 'string')
  const failure = await failureOf(() => call.services.permissions.add(good))
  const results = asked.map((one) =>
    typeof one === 'string' ? { errorCode: ERROR.INVALID_REQUEST, errorMessage: one } : failure,
  )
  return { throttleTimeMs: 0, results }
}

export async function deleteAcls(
  call: Call,
  { filters }: RequestOf<typeof DELETE_ACLS>,
): Promise<ResponseOf<typeof DELETE_ACLS>> {
  const found = filters.map((filter) => (isFilter(filter) ? find(call, filter) : undefined))
  const all = found.flatMap((each) => each?.map(({ permission }) => permission) ?? [])
  const failure = await failureOf(() => call.services.permissions.remove(all))
  const filterResults = found.map((each) => {
    if (each === undefined) return { ...NO_FILTER, matchingAcls: [] }
    return { ...FINE, matchingAcls: each.map(({ binding }) => ({ ...failure, ...binding })) }
  })
  return { throttleTimeMs: 0, filterResults }
}

async function failureOf(change: () => Promise<void>): Promise<typeof FINE> {
  try {
    await change()
    return FINE
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    const errorCode = error.code === 'REFUSED' ? ERROR.INVALID_REQUEST : ERROR.REQUEST_TIMED_OUT
    return { errorCode, errorMessage: error.message }
  }
}
