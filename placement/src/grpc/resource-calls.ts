/** Resources by compare-and-set: what is asked is checked, proposed once, and answered after the commit. */
import type { placement as wire } from '@robust/proto'
import type { Leadership } from '../controllers/leadership.ts'
import { PlacementError } from '../errors.ts'
import {
  keyOf,
  RESOURCE_KINDS,
  type ResourceChange,
  type ResourceKey,
  type ResourceKind,
} from '../metadata/resources.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'
import type { Proposer } from '../replication/proposer.ts'
import { refusalOfValue } from '../resources/values.ts'

export interface ResourceCallsOptions {
  readonly machine: MetadataMachine
  readonly leadership: Leadership
  readonly proposer: Proposer
  /** Resolves when everything that was committed is applied here. */
  readonly readBarrier: () => Promise<unknown>
}

const NAME_CHARACTERS_MAX = 1_024
const VALUE_CHARACTERS_MAX = 64 * 1024
const CHANGES_MAX = 1_000
const BY_CHARACTERS_MAX = 255
/** About 500 MB of memory on each member. */
const RESOURCES_MAX = 1_000_000
const PAGE_DEFAULT = 500
const PAGE_MAX = 5_000

export async function putResource(
  options: ResourceCallsOptions,
  { key, value, expectedVersion, by }: wire.PutResourceRequest,
): Promise<wire.PutResourceReply> {
  const { version } = await change(options, [{ key, value, expectedVersion }], by)
  return { version }
}

export async function deleteResource(
  options: ResourceCallsOptions,
  { key, expectedVersion, by }: wire.DeleteResourceRequest,
): Promise<wire.DeleteResourceReply> {
  const { existed } = await change(options, [{ key, value: undefined, expectedVersion }], by)
  return { existed }
}

export async function changeResources(
  options: ResourceCallsOptions,
  { changes, by }: wire.ChangeResourcesRequest,
): Promise<wire.ChangeResourcesReply> {
  const { version } = await change(options, changes, by)
  return { version }
}

export async function getResource(
  options: ResourceCallsOptions,
  request: wire.GetResourceRequest,
): Promise<wire.Resource> {
  const key = toKey(request.key)
  await linearizable(options)
  const found = options.machine.state.resources.get(key)
  if (found === undefined) {
    throw new PlacementError('NO_SUCH_RESOURCE', `there is no ${describe(key)}`)
  }
  return found
}

export async function listResources(
  options: ResourceCallsOptions,
  request: wire.ListResourcesRequest,
): Promise<wire.ListResourcesReply> {
  const { tenant, namePrefix, pageSize, pageToken } = request
  const kind = toKind(request.kind)
  if (tenant === undefined && namePrefix !== '') throw invalid('name_prefix needs a tenant')
  const limit = Math.min(pageSize === 0 ? PAGE_DEFAULT : pageSize, PAGE_MAX)
  await linearizable(options)
  const resources = options.machine.state.resources.page(kind, {
    prefix: tenant === undefined ? '' : keyOf(tenant, namePrefix),
    after: pageToken,
    limit,
  })
  const last = resources.at(-1)
  const isFull = last !== undefined && resources.length === limit
  return {
    resources: [...resources],
    nextPageToken: isFull ? keyOf(last.tenant, last.name) : '',
  }
}

export async function resourceHistory(
  options: ResourceCallsOptions,
  request: wire.ResourceHistoryRequest,
): Promise<wire.ResourceHistoryReply> {
  const key = toKey(request.key)
  if (key.kind !== 'setting') throw invalid('settings only have a history')
  await linearizable(options)
  const history = options.machine.state.resources.history(key.name)
  const versions = history.map(({ value, ...rest }) => ({ ...rest, value: value ?? undefined }))
  return { versions }
}

async function change(
  { machine, leadership, proposer }: ResourceCallsOptions,
  asked: readonly wire.ResourceChange[],
  by: string,
): Promise<{ version: number; existed: boolean }> {
  if (asked.length === 0) throw invalid('no change is named')
  if (asked.length > CHANGES_MAX) throw invalid(`more than ${CHANGES_MAX} changes`)
  if (by.length > BY_CHARACTERS_MAX) throw invalid('by is too long')
  const changes = asked.map(toChange)
  leadership.require()
  const added = changes.filter(({ value }) => value !== null).length
  if (machine.state.resources.size + added > RESOURCES_MAX) {
    throw new PlacementError('OVERLOADED', `there are ${RESOURCES_MAX} resources already`)
  }
  const result = await proposer.propose({ kind: 'change-resources', changes, by })
  if (result.kind === 'conflict') {
    const { key, version } = result
    const is = version === 0 ? 'does not exist' : `is at version ${version}`
    throw new PlacementError('CONFLICT', `${describe(key)} ${is}; nothing was changed`, {
      currentVersion: version,
    })
  }
  if (result.kind !== 'changed') throw new Error(`a change of resources ended as ${result.kind}`)
  return result
}

/** Stored as short as it can be written, whoever wrote it. */
function toChange({ key: asked, value, expectedVersion }: wire.ResourceChange): ResourceChange {
  const key = toKey(asked)
  const expected = { expectedVersion: expectedVersion ?? null }
  if (value === undefined) return { ...key, ...expected, value: null }
  if (value.length > VALUE_CHARACTERS_MAX) throw invalid('the value is too long')
  const parsed = parseJson(value)
  const refusal = refusalOfValue(key.kind, key.name, parsed)
  if (refusal !== undefined) throw invalid(refusal)
  return { ...key, ...expected, value: JSON.stringify(parsed) }
}

function toKey(key: wire.ResourceKey | undefined): ResourceKey {
  if (key === undefined) throw invalid('no key is named')
  const { tenant, name } = key
  const kind = toKind(key.kind)
  checkText('tenant', tenant)
  checkText('name', name)
  if (name === '') throw invalid('name is empty')
  if (kind === 'setting' && tenant !== '') throw invalid('settings have no tenant')
  return { kind, tenant, name }
}

function toKind(kind: string): ResourceKind {
  const known = RESOURCE_KINDS.find((each) => each === kind)
  if (known === undefined) throw invalid(`kind ${kind} is not ${RESOURCE_KINDS.join(', ')}`)
  return known
}

function checkText(what: string, text: string): void {
  if (text.length > NAME_CHARACTERS_MAX) throw invalid(`${what} is too long`)
  if (/\p{Cc}/u.test(text)) throw invalid(`${what} has control characters`)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const cause = error instanceof Error ? error.message : ''
    throw new PlacementError('INVALID', `the value is no JSON: ${cause}`, { cause: error })
  }
}

async function linearizable({ leadership, readBarrier }: ResourceCallsOptions): Promise<void> {
  const session = leadership.require()
  await readBarrier()
  if (leadership.require() !== session) throw new PlacementError('NO_LEADER', 'a new term')
}

function describe({ kind, tenant, name }: ResourceKey): string {
  return `${kind} ${tenant === '' ? name : `${tenant}/${name}`}`
}

function invalid(message: string): PlacementError {
  return new PlacementError('INVALID', message)
}
