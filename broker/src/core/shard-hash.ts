/** The stable hash that maps (kind, tenant, name) to a shard: FNV-1a, 32 bits, over UTF-16 code units. */

export type ShardKind =
  | 'session'
  | 'retained'
  | 'topic'
  | 'claim'
  | 'group'
  | 'schedule'
  | 'queue'
  | 'bridge'
  | 'consumer-offsets'
  | 'transaction'

/** Never change this: stored data is found by it. */
export function shardOf(kind: ShardKind, name: string, shardCount: number): number {
  return hashOf(`${kind}\0default\0${name}`) % shardCount
}

/** 32 bits. Never change this either. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) {
    hash ^= text.charCodeAt(i)
    hash = Math.imul(hash, 0x01000193)
  }
  // Finishing mix: FNV's low bits are weak for short names that differ in one character.
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  return hash >>> 0
}
