/**
 * What a queue is called where tenants do not matter: on its shard, in receipts and between queues. Of the usual
 * tenant it is the name alone. Never change this: stored data is found by it.
 */

export const DEFAULT_TENANT = 'default'

/** NUL is in no tenant and no name. */
const SEPARATOR = '\0'

export function queueKey(tenant: string, name: string): string {
  return tenant === DEFAULT_TENANT ? name : `${tenant}${SEPARATOR}${name}`
}

export function tenantOf(key: string): string {
  const at = key.indexOf(SEPARATOR)
  return at < 0 ? DEFAULT_TENANT : key.slice(0, at)
}

export function queueNameOf(key: string): string {
  return key.slice(key.indexOf(SEPARATOR) + 1)
}
