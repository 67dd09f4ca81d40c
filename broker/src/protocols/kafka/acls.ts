/**
 * Kafka's access rules as permissions, and back. A topic is the address of its name, so that one rule holds for every
 * protocol. A permission that asks for QoS or retain is none that Kafka's clients can be told; of filters with
 * wildcards they see the text, by which such a rule can be deleted too.
 */
import { isHost, type Operation, type Rule, type Subject } from '../../security/access.ts'
import { ANONYMOUS } from '../../security/authenticator.ts'
import type { Permission } from '../../security/permissions.ts'

export const ANY = 1
export const PATTERN = { any: 1, match: 2, literal: 3, prefixed: 4 } as const
const DENY = 2
const ALLOW = 3
export const CLUSTER_NAME = 'kafka-cluster'

const SUBJECTS: Readonly<Record<Subject, number>> = {
  address: 2,
  group: 3,
  cluster: 4,
  'transactional-id': 5,
}

export const OPERATIONS: Readonly<Record<Operation | 'all', number>> = {
  all: 2,
  subscribe: 3,
  publish: 4,
  create: 5,
  delete: 6,
  alter: 7,
  describe: 8,
  'cluster-action': 9,
  'describe-configs': 10,
  'alter-configs': 11,
  'idempotent-write': 12,
}

/** What there is to be allowed, by what it is done with. */
const FITTING: Readonly<Record<Subject, readonly Operation[]>> = {
  address: [
    ...(['subscribe', 'publish', 'create', 'delete', 'alter', 'describe'] as const),
    ...(['describe-configs', 'alter-configs'] as const),
  ],
  group: ['subscribe', 'delete', 'describe', 'describe-configs', 'alter-configs'],
  'transactional-id': ['publish', 'describe'],
  cluster: [
    ...(['create', 'alter', 'describe', 'cluster-action'] as const),
    ...(['describe-configs', 'alter-configs', 'idempotent-write'] as const),
  ],
}

/** As a set of bits, by the numbers of the operations. */
export function operationBits(on: Subject, may: (operation: Operation) => boolean): number {
  return FITTING[on].reduce((bits, one) => (may(one) ? bits | (1 << OPERATIONS[one]) : bits), 0)
}

export interface Binding {
  readonly resourceType: number
  readonly resourceName: string
  readonly patternType: number
  readonly principal: string
  readonly host: string
  readonly operation: number
  readonly permissionType: number
}

export type BindingFilter = {
  readonly [Name in keyof Binding]: Binding[Name] extends string ? string | null : number
}

/** Undefined: Kafka has no words for it. */
export function bindingOf(permission: Permission): Binding | undefined {
  const { on = 'address', prefix = false, pattern, host = '*', action, allow, user } = permission
  if (permission.qos !== undefined || permission.retain !== undefined) return undefined
  const isAll = on === 'address' && pattern === '#' && !prefix
  return {
    resourceType: SUBJECTS[on],
    resourceName: isAll ? '*' : pattern,
    patternType: prefix ? PATTERN.prefixed : PATTERN.literal,
    principal: `User:${user === ANONYMOUS ? 'ANONYMOUS' : user}`,
    host,
    operation: OPERATIONS[action],
    permissionType: allow ? ALLOW : DENY,
  }
}

/** Or why it cannot be held here. */
export function permissionOf(binding: Binding): Permission | string {
  const { resourceType, resourceName: name, patternType, host, operation, permissionType } = binding
  const on = keyOf(SUBJECTS, resourceType)
  const action = keyOf(OPERATIONS, operation)
  const user = /^User:(.+)$/.exec(binding.principal)?.[1]
  if (on === undefined) return 'rules are about topics, groups, transactional ids and the cluster'
  if (user === undefined) return 'a principal is User:NAME or User:*'
  const isFitting = action === 'all' || (action !== undefined && FITTING[on].includes(action))
  if (!isFitting) return 'there is no such operation on such a resource'
  if (permissionType !== ALLOW && permissionType !== DENY) return 'a rule allows or denies'
  if (patternType !== PATTERN.literal && patternType !== PATTERN.prefixed) {
    return 'a pattern is literal or prefixed'
  }
  if (host !== '*' && !isHost(host)) return 'a host is an address or *'
  const prefix = patternType === PATTERN.prefixed
  const refusal = refusalOfName(on, name, prefix)
  if (refusal !== undefined) return refusal
  return {
    user: user === 'ANONYMOUS' ? ANONYMOUS : user,
    ...{ action, allow: permissionType === ALLOW },
    pattern: on === 'address' && name === '*' && !prefix ? '#' : name,
    ...subjectOf(on),
    ...(prefix && { prefix }),
    ...(host !== '*' && { host }),
  }
}

function subjectOf(on: Subject): Pick<Rule, 'on'> {
  return on === 'address' ? {} : { on }
}

function refusalOfName(on: Subject, name: string, prefix: boolean): string | undefined {
  if (name === '' || name.includes('\0')) return 'a rule names something'
  if (on === 'cluster') {
    const isCluster = name === CLUSTER_NAME && !prefix
    return isCluster ? undefined : `the cluster is called ${CLUSTER_NAME}`
  }
  // It would be a filter, or stand for another name.
  const isOther = on === 'address' && !prefix && /[+#]|(^|\/)%[uc](\/|$)/.test(name)
  return isOther ? 'no topic has such a name' : undefined
}

/** Whether a filter can be asked for at all. */
export function isFilter({ resourceType, patternType, operation, permissionType }: BindingFilter) {
  return [resourceType, patternType, operation, permissionType].every((number) => number > 0)
}

export function matchesFilter(binding: Binding, filter: BindingFilter): boolean {
  const { principal, host, operation, permissionType, resourceType } = filter
  return (
    (resourceType === ANY || resourceType === binding.resourceType) &&
    (principal === null || principal === binding.principal) &&
    (host === null || host === binding.host) &&
    (operation === ANY || operation === binding.operation) &&
    (permissionType === ANY || permissionType === binding.permissionType) &&
    matchesName(binding, filter)
  )
}

function matchesName(
  { resourceName, patternType }: Binding,
  { resourceName: name, patternType: wanted }: BindingFilter,
): boolean {
  if (wanted === PATTERN.literal || wanted === PATTERN.prefixed) {
    return patternType === wanted && (name === null || name === resourceName)
  }
  if (name === null || name === resourceName) return true
  if (wanted !== PATTERN.match) return false
  return patternType === PATTERN.prefixed ? name.startsWith(resourceName) : resourceName === '*'
}

function keyOf<K extends string>(numbers: Readonly<Record<K, number>>, number: number) {
  return (Object.keys(numbers) as K[]).find((key) => numbers[key] === number)
}
