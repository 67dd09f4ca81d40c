/** Users, permissions and other rules as the Placement Center keeps them. */
import type { placement } from '@robust/proto'
import { askLeader } from './clients.ts'

export interface StoredResource {
  readonly name: string
  readonly version: number
  readonly value: Readonly<Record<string, unknown>>
}

export interface ResourceChange {
  readonly kind:
    | 'user'
    | 'access-key'
    | 'permission'
    | 'auto-subscription'
    | 'topic-rewrite'
    | 'ban'
    | 'bridge'
  readonly name: string
  /** Undefined: it goes. */
  readonly value: object | undefined
  /** 0: it must not exist; undefined: whatever is there. */
  readonly expectedVersion?: number
}

/** Users are of no tenant: one may have rights in several. */
const TENANT = ''
const PAGE = 500

export async function listResources(
  addresses: readonly string[],
  kind: ResourceChange['kind'],
): Promise<readonly StoredResource[]> {
  const found: StoredResource[] = []
  let pageToken = ''
  do {
    const request = { kind, tenant: TENANT, namePrefix: '', pageSize: PAGE, pageToken }
    const reply = await askLeader<placement.ListResourcesReply>(addresses, (client, call, done) =>
      client.listResources(request, call.metadata, call.options, done),
    )
    for (const { name, version, value } of reply.resources) {
      found.push({ name, version, value: JSON.parse(value) })
    }
    pageToken = reply.nextPageToken
  } while (pageToken !== '')
  return found
}

/** All or none. Throws CONFLICT when an expected version does not hold. */
export async function changeResources(
  addresses: readonly string[],
  changes: readonly ResourceChange[],
  by: string,
): Promise<void> {
  const request = {
    changes: changes.map(({ kind, name, value, expectedVersion }) => ({
      key: { kind, tenant: TENANT, name },
      value: value && JSON.stringify(value),
      expectedVersion,
    })),
    by,
  }
  await askLeader<placement.ChangeResourcesReply>(addresses, (client, call, done) =>
    client.changeResources(request, call.metadata, call.options, done),
  )
}
