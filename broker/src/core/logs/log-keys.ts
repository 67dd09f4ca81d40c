/** Keys of a shard that describe its logs. A log's name holds no NUL, so no name reaches into another's keys. */
import { prefixEnd } from '@robust/storage-adapters'
import type { KeyRange } from '../stored.ts'

const ROOT = 'log\u0000'

function part(log: string, what: string): string {
  return `${ROOT}${log}\u0000${what}\u0000`
}

function padded(offset: number): string {
  return String(offset).padStart(16, '0')
}

export function segmentsPrefix(log: string): string {
  return part(log, 'segment')
}

export function segmentKey(log: string, base: number): string {
  return `${segmentsPrefix(log)}${padded(base)}`
}

export function abortedPrefix(log: string): string {
  return part(log, 'aborted')
}

/** By the offset of the marker. */
export function abortedKey(log: string, markerOffset: number): string {
  return `${abortedPrefix(log)}${padded(markerOffset)}`
}

export function producersKey(log: string): string {
  return part(log, 'producers')
}

/** How far a group that shares the log's records is; gone with the log. */
export function shareKey(log: string, group: string): string {
  return `${part(log, 'share')}${group}`
}

/** Where the epochs of its owners begin. */
export function epochsKey(log: string): string {
  return part(log, 'epochs')
}

/** Where the log begins for its readers, and how far it is compacted. */
export function stateKey(log: string): string {
  return part(log, 'state')
}

/** Everything that is kept about the log. */
export function keysOfLog(log: string): KeyRange {
  return rangeOf(`${ROOT}${log}\u0000`)
}

export function rangeOf(prefix: string): KeyRange {
  return { from: prefix, to: prefixEnd(prefix) }
}
