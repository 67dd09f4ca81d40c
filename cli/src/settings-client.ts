/** Settings as the Placement Center keeps them. */
import type { placement } from '@robust/proto'
import { askLeader } from './clients.ts'

export interface StoredSetting {
  readonly name: string
  readonly version: number
  /** JSON. */
  readonly value: string
}

export interface SettingChange {
  readonly name: string
  /** JSON; undefined: back to the default. */
  readonly value: string | undefined
  /** Undefined: whatever is there. */
  readonly expectedVersion: number | undefined
  /** Who. */
  readonly by: string
}

const KIND = 'setting'
const PAGE = 500

/** Those that are set. */
export async function storedSettings(
  addresses: readonly string[],
): Promise<ReadonlyMap<string, StoredSetting>> {
  const request = { kind: KIND, tenant: '', namePrefix: '', pageSize: PAGE, pageToken: '' }
  const reply = await askLeader<placement.ListResourcesReply>(addresses, (client, call, done) =>
    client.listResources(request, call.metadata, call.options, done),
  )
  return new Map(
    reply.resources.map(({ name, version, value }) => [name, { name, version, value }]),
  )
}

/** Oldest first. */
export async function settingHistory(
  addresses: readonly string[],
  name: string,
): Promise<readonly placement.ResourceVersion[]> {
  const request = { key: { kind: KIND, tenant: '', name } }
  const reply = await askLeader<placement.ResourceHistoryReply>(addresses, (client, call, done) =>
    client.resourceHistory(request, call.metadata, call.options, done),
  )
  return reply.versions
}

/** Answers the version. Throws CONFLICT when the expected version does not hold. */
export async function changeSetting(
  addresses: readonly string[],
  { name, value, expectedVersion, by }: SettingChange,
): Promise<number> {
  const change = { key: { kind: KIND, tenant: '', name }, value, expectedVersion }
  const request = { changes: [change], by }
  const reply = await askLeader<placement.ChangeResourcesReply>(addresses, (client, call, done) =>
    client.changeResources(request, call.metadata, call.options, done),
  )
  return reply.version
}
