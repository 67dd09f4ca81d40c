/** Changes of resources: all preconditions first, then everything. Settings keep their history. */
import type { Outcome, Place } from './apply.ts'
import type { ChangeResources } from './commands.ts'
import {
  conflictOf,
  keyOf,
  type Resource,
  type ResourceChange,
  type ResourceKey,
  type ResourceTable,
} from './resources.ts'

export function applyResources(place: Place, command: ChangeResources): Outcome {
  const { resources } = place.state
  const conflict = conflictOf(resources, command.changes)
  if (conflict !== undefined) return { result: { kind: 'conflict', ...conflict } }
  const touched = new Map<string, { readonly key: ResourceKey; readonly now?: Resource }>()
  let existed = false
  for (const change of command.changes) {
    const { kind, tenant, name, value } = change
    if (kind === 'setting') noteSetting(place, change, command.by)
    const key = { kind, tenant, name }
    const path = `${kind} ${keyOf(tenant, name)}`
    if (value === null) {
      if (!resources.delete(key)) continue
      existed = true
      touched.set(path, { key })
      continue
    }
    const version = place.revision
    const created = resources.get(change)?.created ?? version
    const resource: Resource = { kind, tenant, name, created, version, value }
    resources.put(resource)
    touched.set(path, { key, now: resource })
  }
  // One name may be in several changes: what is told is how they end.
  const ends = [...touched.values()]
  return {
    result: { kind: 'changed', version: place.revision, existed },
    resourcesChanged: ends.flatMap(({ now }) => now ?? []),
    resourcesRemoved: ends.flatMap(({ key, now }) => (now === undefined ? [key] : [])),
  }
}

function noteSetting(place: Place, { name, value }: ResourceChange, by: string): void {
  const { state, index, revision, timeMs } = place
  const before = textOf(state.resources, name)
  const after = value ?? 'its default'
  if (before === after) return
  state.resources.remember(name, [{ version: revision, timeMs, value, by }])
  const who = by === '' ? '' : `, by ${by}`
  const event = { subject: name, reason: `${before} -> ${after}${who}`, shards: [] }
  state.events.append({ index, timeMs, kind: 'SettingChanged', ...event })
}

function textOf(resources: ResourceTable, name: string): string {
  return resources.get({ kind: 'setting', tenant: '', name })?.value ?? 'its default'
}
