/**
 * The members of a cluster and their form inside a log entry of kind `configuration`.
 * There is no public operation that changes them yet; readers already take them from log and snapshot.
 */

export interface RaftMember {
  readonly id: string
  /** Where the member's transport listens. Never interpreted here. */
  readonly address: string
}

export function encodeConfiguration(members: readonly RaftMember[]): Uint8Array {
  const plain = members.map((member) => ({ id: member.id, address: member.address }))
  return new TextEncoder().encode(JSON.stringify({ members: plain }))
}

/** @throws Error when the bytes are no configuration. */
export function decodeConfiguration(data: Uint8Array): readonly RaftMember[] {
  const parsed: unknown = JSON.parse(new TextDecoder().decode(data))
  const members = isObject(parsed) ? parsed['members'] : undefined
  if (!Array.isArray(members)) throw new Error('a configuration entry has no list of members')
  return members.map(parseMember)
}

export function parseMember(value: unknown): RaftMember {
  const id = isObject(value) ? value['id'] : undefined
  const address = isObject(value) ? value['address'] : undefined
  if (typeof id !== 'string' || typeof address !== 'string') {
    throw new Error('a member of a configuration has no id or no address')
  }
  return { id, address }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
