/** What the members compare. Resources keep their own sum; the rest is small, and hashed when it is asked. */
import { Digest } from './digest.ts'
import type { MetadataState } from './state.ts'

/** The newest events stand for all: each has its number, and a member that came by a snapshot has no more. */
const EVENTS_HASHED = 100

export function hashOfState(state: MetadataState): string {
  const digest = new Digest()
  const { clusterId, index, generation, events, resources } = state
  digest.add(`state ${clusterId} ${index} ${generation} ${events.sequence}`)
  for (const node of state.nodes.values()) digest.add(`node ${inOrder(node)}`)
  for (const shard of state.shards) digest.add(`shard ${inOrder(shard)}`)
  for (const [id, folder] of state.folders) digest.add(`folder ${id} ${folder}`)
  for (const [name, versions] of resources.histories) {
    digest.add(`history ${name} ${inOrder(versions)}`)
  }
  for (const event of events.after(Math.max(0, events.sequence - EVENTS_HASHED))) {
    digest.add(`event ${inOrder(event)}`)
  }
  return `${resources.digest}-${digest.text}`
}

/** JSON with the fields in one order: a state out of a snapshot may have them in another. */
function inOrder(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
    const fields = Object.entries(item).sort(([left], [right]) => (left < right ? -1 : 1))
    return Object.fromEntries(fields)
  })
}
