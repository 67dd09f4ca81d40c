/**
 * Permissions as they are kept in the metadata: what a user may or may not do with an address, or with something
 * else that clients of some dialect share. For who checks them (Placement Center), sets them and obeys them.
 */
import { createHash } from 'node:crypto'

/** `all` is each of them. MQTT and SQS ask for the first two only. */
export const PERMISSION_ACTIONS = [
  ...['publish', 'subscribe', 'create', 'delete', 'alter', 'describe'],
  ...['describe-configs', 'alter-configs', 'cluster-action', 'idempotent-write', 'all'],
] as const

/** What a permission is about; an address unless it says so. */
export const PERMISSION_SUBJECTS = ['address', 'group', 'transactional-id', 'cluster'] as const

export type PermissionAction = (typeof PERMISSION_ACTIONS)[number]
export type PermissionSubject = (typeof PERMISSION_SUBJECTS)[number]

export interface Permission {
  readonly user: string
  readonly action: PermissionAction
  /** Of addresses a filter, of others a name, or `*` for all. */
  readonly pattern: string
  readonly allow: boolean
  readonly on?: PermissionSubject
  /** Every name that begins with the pattern. */
  readonly prefix?: boolean
  /** Only clients of this address. */
  readonly host?: string
  /** Only messages or subscriptions of these. */
  readonly qos?: readonly number[]
  readonly retain?: boolean
}

const NAME_CHARACTERS = 10

/** A permission is named by what it says, so the same one is there once. Never change what older ones are named. */
export function permissionName(permission: Permission): string {
  const { user, action, pattern, allow, qos, retain, on, prefix, host } = permission
  const manner = qos === undefined && retain === undefined ? [] : [qos ?? null, retain ?? null]
  const more = [on ?? 'address', prefix ?? false, host ?? null]
  const isPlain = more[0] === 'address' && !more[1] && more[2] === null
  const text = JSON.stringify([user, action, pattern, allow, ...manner, ...(isPlain ? [] : [more])])
  return createHash('sha256').update(text).digest('hex').slice(0, NAME_CHARACTERS)
}
