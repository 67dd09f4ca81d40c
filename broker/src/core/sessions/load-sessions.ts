/** Reads the sessions of a shard from storage: records, subscriptions, cursors, incoming packet ids. */
import type { StorageAdapter } from '@robust/storage-adapters'
import type { Subscription } from '../message.ts'
import { decodeJson, scanAll } from '../stored.ts'
import { CURSORS, INCOMING, SESSIONS, SUBSCRIPTIONS, splitKey } from './session-keys.ts'

export interface StoredSessionParts {
  readonly session: Uint8Array
  readonly subscriptions: Subscription[]
  readonly incoming: [packetId: number, token: string][]
  cursor: Uint8Array | undefined
}

export async function loadSessions(
  storage: StorageAdapter,
  shard: number,
): Promise<Map<string, StoredSessionParts>> {
  const sessions = new Map<string, StoredSessionParts>()
  for await (const { key, value } of scanAll(storage, shard, SESSIONS)) {
    const name = key.slice('session/'.length)
    sessions.set(name, { session: value, subscriptions: [], incoming: [], cursor: undefined })
  }
  for await (const { key, value } of scanAll(storage, shard, SUBSCRIPTIONS)) {
    const { session } = splitKey(key, 'subscription/')
    sessions.get(session)?.subscriptions.push(decodeJson<Subscription>(value))
  }
  for await (const { key, value } of scanAll(storage, shard, INCOMING)) {
    const { session, rest } = splitKey(key, 'incoming/')
    sessions.get(session)?.incoming.push([Number(rest), decodeJson<string>(value)])
  }
  for await (const { key, value } of scanAll(storage, shard, CURSORS)) {
    const parts = sessions.get(key.slice('cursor/'.length))
    if (parts !== undefined) parts.cursor = value
  }
  return sessions
}
