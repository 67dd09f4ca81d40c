/** Where users may be known besides the metadata: what each such place is asked. */
import type { Rule } from '../access.ts'

export interface BackendCredentials {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Uint8Array | undefined
  readonly certificateName: string | undefined
  readonly remoteAddress: string
}

export type BackendAnswer =
  | {
      readonly kind: 'in'
      readonly user: string
      /** May do everything. */
      readonly isAdmin: boolean
      /** Besides those of the metadata. */
      readonly rules: readonly Rule[]
      /** Wall clock, ms: the client must not stay for longer; undefined: as long as it likes. */
      readonly until: number | undefined
    }
  | { readonly kind: 'bad-credentials' }
  /** The next one may know the client. */
  | { readonly kind: 'unknown' }

export interface Backend {
  readonly name: string
  /** Rejects when it cannot be asked now: nobody is let in then. */
  check(credentials: BackendCredentials): Promise<BackendAnswer>
  stop(): void
}

/** Thrown for an answer that makes no sense: as if there had been none. */
export class BackendError extends Error {
  override readonly name = 'BackendError'
}

/** Rules as back ends write them: one object for each, or lists of topics by action. */
export function rulesOf(acl: unknown): Rule[] {
  if (acl === undefined || acl === null) return []
  if (Array.isArray(acl)) return acl.map(ruleOf)
  if (typeof acl !== 'object') throw new BackendError('the rules are neither a list nor an object')
  const actions = { pub: 'publish', sub: 'subscribe', all: 'all' } as const
  return Object.entries(actions).flatMap(([name, action]) => {
    const topics: unknown = (acl as Record<string, unknown>)[name] ?? []
    if (!isTexts(topics)) throw new BackendError(`${name} of the rules is no list of topics`)
    return topics.map((pattern) => ({ action, pattern, allow: true }))
  })
}

const ACTIONS = ['publish', 'subscribe', 'all'] as const

function ruleOf(item: unknown): Rule {
  const { permission, action, topic, qos, retain } = (item ?? {}) as Record<string, unknown>
  const known = ACTIONS.find((each) => each === action)
  const isKnown = permission === 'allow' || permission === 'deny'
  if (known === undefined || !isKnown || typeof topic !== 'string') {
    throw new BackendError('a rule has no permission, action or topic')
  }
  const levels = qos === undefined ? undefined : [qos].flat()
  if (levels?.every((level) => [0, 1, 2].includes(level as number)) === false) {
    throw new BackendError('the QoS of a rule is 0, 1, 2 or a list of them')
  }
  return {
    action: known,
    pattern: topic,
    allow: permission === 'allow',
    ...(levels && { qos: levels as number[] }),
    ...(typeof retain === 'boolean' && { retain }),
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
