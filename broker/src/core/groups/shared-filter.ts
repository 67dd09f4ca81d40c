/**
 * Filters that several sessions share: each message goes to one of them. Written `$share/NAME/FILTER`
 * [MQTT 5.0 section 4.8.2], or `$queue/FILTER` for the one group without a name.
 */
import { shardOf } from '../shard-hash.ts'

export interface SharedFilter {
  /** Names the group in the cluster. */
  readonly group: string
  /** What its messages match. */
  readonly filter: string
}

const SHARE = '$share/'
const QUEUE = '$queue/'

export function isShared(filter: string): boolean {
  return filter.startsWith('$') && (filter.startsWith(SHARE) || filter.startsWith(QUEUE))
}

/** Of a filter that is shared. */
export function sharedFilter(filter: string): SharedFilter {
  if (filter.startsWith(QUEUE)) return { group: filter, filter: filter.slice(QUEUE.length) }
  const nameEnd = filter.indexOf('/', SHARE.length)
  return { group: filter, filter: filter.slice(nameEnd + 1) }
}

/** The filter that access is decided by. */
export function plainFilter(filter: string): string {
  return isShared(filter) ? sharedFilter(filter).filter : filter
}

/** Where the group lives. */
export function shardOfGroup(group: string, shardCount: number): number {
  return shardOf('group', group, shardCount)
}
