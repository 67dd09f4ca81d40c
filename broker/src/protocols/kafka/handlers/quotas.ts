/** DescribeClientQuotas and AlterClientQuotas. What is not enforced is refused. */
import { BrokerError } from '../../../core/errors.ts'
import type { Call } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { ALTER_CLIENT_QUOTAS, DESCRIBE_CLIENT_QUOTAS } from '../codec/quota-apis.ts'
import { ERROR } from '../errors.ts'
import type { QuotaEntity, QuotaEntry, QuotaName } from '../quotas.ts'

const NAMES: Readonly<Record<string, QuotaName>> = {
  producer_byte_rate: 'producerByteRate',
  consumer_byte_rate: 'consumerByteRate',
  request_percentage: 'requestPercentage',
}
const FIELDS: Readonly<Record<string, keyof QuotaEntity>> = { user: 'user', 'client-id': 'client' }
/** How a part of an entity is matched: by name, the one without a name, or any that is named at all. */
const BY_NAME = 0
const BY_DEFAULT = 1
const BY_ANY = 2

type DescribeRequest = RequestOf<typeof DESCRIBE_CLIENT_QUOTAS>
type AlterRequest = RequestOf<typeof ALTER_CLIENT_QUOTAS>
type Entry = AlterRequest['entries'][number]

export function describeClientQuotas(
  { services }: Call,
  request: DescribeRequest,
): ResponseOf<typeof DESCRIBE_CLIENT_QUOTAS> {
  const refusal = refusalOf(request)
  if (refusal !== undefined) {
    const errorCode = ERROR.INVALID_REQUEST
    return { throttleTimeMs: 0, errorCode, errorMessage: refusal, entries: null }
  }
  const found = services.quotas.all().filter(({ entity }) => isWanted(entity, request))
  const entries = found.map(shown)
  return { throttleTimeMs: 0, errorCode: ERROR.NONE, errorMessage: null, entries }
}

function refusalOf({ components }: DescribeRequest): string | undefined {
  const types = components.map(({ entityType }) => entityType)
  if (types.some((type) => !Object.hasOwn(FIELDS, type))) return ONLY_THESE
  if (new Set(types).size < types.length) return 'a part of an entity is named once'
  const isKnown = components.every(
    ({ matchType, match }) =>
      (matchType === BY_NAME && match !== null) || [BY_DEFAULT, BY_ANY].includes(matchType),
  )
  return isKnown ? undefined : 'there is no such match'
}

const ONLY_THESE = 'quotas are of user and client-id'

function isWanted(entity: QuotaEntity, { components, strict }: DescribeRequest): boolean {
  const named = Object.entries(FIELDS).filter(([, field]) => entity[field] !== undefined)
  if (strict && named.length !== components.length) return false
  return components.every(({ entityType, matchType, match }) => {
    const field = FIELDS[entityType]
    const name = field && entity[field]
    if (name === undefined) return false
    if (matchType === BY_ANY) return true
    return name === (matchType === BY_DEFAULT ? '' : match)
  })
}

function shown({ entity, quota }: QuotaEntry) {
  const parts = Object.entries(FIELDS).flatMap(([entityType, field]) => {
    const name = entity[field]
    return name === undefined ? [] : [{ entityType, entityName: name === '' ? null : name }]
  })
  const values = Object.entries(NAMES).flatMap(([key, name]) => {
    const value = quota[name]
    return value === undefined ? [] : [{ key, value }]
  })
  return { entity: parts, values }
}

export async function alterClientQuotas(
  call: Call,
  { entries, validateOnly }: AlterRequest,
): Promise<ResponseOf<typeof ALTER_CLIENT_QUOTAS>> {
  const altered: ResponseOf<typeof ALTER_CLIENT_QUOTAS>['entries'][number][] = []
  // One after the other: two of them may be of the same entity.
  for (const entry of entries) {
    const failure = await alter(call, entry, validateOnly)
    altered.push({
      errorCode: failure?.code ?? ERROR.NONE,
      errorMessage: failure?.message ?? null,
      entity: entry.entity,
    })
  }
  return { throttleTimeMs: 0, entries: altered }
}

interface Failure {
  readonly code: number
  readonly message: string
}

async function alter(
  { services }: Call,
  { entity, ops }: Entry,
  validateOnly: boolean,
): Promise<Failure | undefined> {
  const whose = entityOf(entity)
  if (typeof whose === 'string') return { code: ERROR.INVALID_REQUEST, message: whose }
  const changes = changesOf(ops)
  if (typeof changes === 'string') return { code: ERROR.INVALID_REQUEST, message: changes }
  if (validateOnly) return undefined
  try {
    await services.quotas.change(whose, changes)
    return undefined
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    const code = error.code === 'REFUSED' ? ERROR.INVALID_REQUEST : ERROR.REQUEST_TIMED_OUT
    return { code, message: error.message }
  }
}

function entityOf(parts: Entry['entity']): QuotaEntity | string {
  if (parts.length === 0) return 'a quota is of somebody'
  const types = parts.map(({ entityType }) => entityType)
  if (types.some((type) => !Object.hasOwn(FIELDS, type))) return ONLY_THESE
  if (new Set(types).size < types.length) return 'a part of an entity is named once'
  if (parts.some(({ entityName }) => entityName === '')) return 'a name is not empty'
  const nameOf = (type: string): string | undefined => {
    const part = parts.find(({ entityType }) => entityType === type)
    return part && (part.entityName ?? '')
  }
  return { user: nameOf('user'), client: nameOf('client-id') }
}

function changesOf(ops: Entry['ops']): ReadonlyMap<QuotaName, number | undefined> | string {
  const changes = new Map<QuotaName, number | undefined>()
  for (const { key, value, remove } of ops) {
    const name = Object.hasOwn(NAMES, key) ? NAMES[key] : undefined
    if (name === undefined) return `${key} is not enforced here; ${Object.keys(NAMES)} are`
    if (changes.has(name)) return `${key} is named twice`
    if (!remove && !(Number.isFinite(value) && value > 0)) return `${key} is a number above 0`
    changes.set(name, remove ? undefined : value)
  }
  return changes
}
