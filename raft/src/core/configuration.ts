/**
 * The members of a cluster, voters and learners, and their form inside a log entry of kind
 * `configuration`. Each change of one member is a new entry; it holds as soon as it is in a log.
 */

export interface RaftMember {
  readonly id: string
  /** Where the member's transport listens. Never interpreted here. */
  readonly address: string
  /** A learner takes the log, and neither votes nor counts. Left out: a voter. */
  readonly role?: 'voter' | 'learner'
}

export function encodeConfiguration(members: readonly RaftMember[]): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ members: members.map(plainMember) }))
}

/** @throws Error when the bytes are no configuration. */
export function decodeConfiguration(data: Uint8Array): readonly RaftMember[] {
  const parsed: unknown = JSON.parse(new TextDecoder().decode(data))
  const members = isObject(parsed) ? parsed['members'] : undefined
  if (!Array.isArray(members)) throw new Error('a configuration entry has no list of members')
  return members.map(parseMember)
}

export function parseMember(value: unknown): RaftMember {
  const { id, address, role } = isObject(value) ? value : {}
  if (typeof id !== 'string' || typeof address !== 'string') {
    throw new Error('a member of a configuration has no id or no address')
  }
  // An unknown role must not be taken for a vote.
  if (role !== undefined && role !== 'learner' && role !== 'voter') {
    throw new Error(`member ${id} of a configuration has an unknown role`)
  }
  return plainMember({ id, address, role: role ?? 'voter' })
}

/** A voter is written without a role, as it was before there were learners. */
function plainMember({ id, address, role }: RaftMember): RaftMember {
  return role === 'learner' ? { id, address, role } : { id, address }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
