/** Keys, log names and value forms of what a session keeps on its shard. Changing them strands stored data. */

import type { KeyRange } from '../stored.ts'

export const SESSIONS: KeyRange = range('session/')
export const SUBSCRIPTIONS: KeyRange = range('subscription/')
export const CURSORS: KeyRange = range('cursor/')
export const INCOMING: KeyRange = range('incoming/')
export const RETAINED: KeyRange = range('retained/')
export const CLAIMS: KeyRange = range('claim/')

export function sessionKey(session: string): string {
  return `session/${session}`
}

export function cursorKey(session: string): string {
  return `cursor/${session}`
}

/** NUL cannot be part of a session name or a filter, so the parts cannot run into each other. */
export function subscriptionKey(session: string, filter: string): string {
  return `subscription/${session}\0${filter}`
}

export function incomingKey(session: string, packetId: number): string {
  return `incoming/${session}\0${packetId}`
}

export function subscriptionsOf(session: string): KeyRange {
  return { from: `subscription/${session}\0`, to: `subscription/${session}\x01` }
}

export function incomingOf(session: string): KeyRange {
  return { from: `incoming/${session}\0`, to: `incoming/${session}\x01` }
}

export function inboxLog(session: string): string {
  return `inbox/${session}`
}

export function retainedKey(address: string): string {
  return `retained/${address}`
}

export function claimKey(name: string): string {
  return `claim/${name}`
}

/** The parts of a key of `subscription/` or `incoming/`. */
export function splitKey(key: string, prefix: string): { session: string; rest: string } {
  const at = key.indexOf('\0')
  return { session: key.slice(prefix.length, at), rest: key.slice(at + 1) }
}

function range(prefix: string): KeyRange {
  return { from: prefix, to: `${prefix.slice(0, -1)}0` }
}
