/** Who owned what, as the nodes of the Placement Center said: an epoch has one owner, and epochs only grow. */
import type { Finding } from './verdict.ts'

/** What a node said of a shard. */
export interface LeaseSeen {
  readonly node: string
  readonly shard: number
  readonly epoch: number
  /** Empty: nobody. */
  readonly owner: string
  /** Of the last entry that the node had applied. */
  readonly index: number
}

export function checkLeases(seen: readonly LeaseSeen[]): readonly Finding[] {
  return [...twoOwners(seen), ...backwards(seen)]
}

/** An epoch may lose its owner, and never gets another one. */
function twoOwners(seen: readonly LeaseSeen[]): readonly Finding[] {
  const owners = new Map<string, string>()
  const found = new Map<string, Finding>()
  for (const { shard, epoch, owner } of seen) {
    if (owner === '') continue
    const lease = `shard ${shard}, epoch ${epoch}`
    const known = owners.get(lease)
    if (known === undefined) owners.set(lease, owner)
    else if (known !== owner) {
      found.set(lease, { kind: 'two owners', what: `${lease}: ${known} and ${owner}` })
    }
  }
  return [...found.values()]
}

/** In the order of the log, whichever node said it. */
function backwards(seen: readonly LeaseSeen[]): readonly Finding[] {
  const newest = new Map<number, LeaseSeen>()
  const found: Finding[] = []
  for (const lease of [...seen].sort((a, b) => a.index - b.index)) {
    const before = newest.get(lease.shard)
    if (before !== undefined && before.index < lease.index && lease.epoch < before.epoch) {
      const what = `shard ${lease.shard}: epoch ${before.epoch} at ${before.index} (${before.node}), ${lease.epoch} at ${lease.index} (${lease.node})`
      found.push({ kind: 'non-monotonic read', what })
    }
    if (before === undefined || lease.epoch >= before.epoch) newest.set(lease.shard, lease)
  }
  return found
}
