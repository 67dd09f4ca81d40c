/** Users of the metadata by their SCRAM verifiers. */
import { editResource, type ResourceChanges } from './cluster/change-resources.ts'
import {
  parseScramVerifier,
  type SaltedPassword,
  SCRAM_FIELDS,
  SCRAM_NAMES,
  type ScramName,
  verifierText,
} from './security/scram.ts'
import type { ScramUsers } from './security/scram-users.ts'

const KIND = 'user'

type Credentials = Readonly<Record<string, unknown>>

export class PlacedScramUsers implements ScramUsers {
  readonly #options: ResourceChanges

  constructor(options: ResourceChanges) {
    this.#options = options
  }

  all(): ReadonlyMap<string, ReadonlyMap<ScramName, number>> {
    const found = new Map<string, ReadonlyMap<ScramName, number>>()
    for (const { name, value } of this.#options.metadata.resources.list(KIND)) {
      const { credentials = {} } = JSON.parse(value) as { credentials?: Credentials }
      const known = iterationsOf(credentials)
      if (known.size > 0) found.set(name, known)
    }
    return found
  }

  set(user: string, changes: ReadonlyMap<ScramName, SaltedPassword | undefined>): Promise<void> {
    return editResource(this.#options, { kind: KIND, tenant: '', name: user }, (now) => {
      const credentials = { ...(now?.['credentials'] as Credentials | undefined) }
      for (const [mechanism, salted] of changes) {
        const field = SCRAM_FIELDS[mechanism]
        if (salted === undefined) delete credentials[field]
        else credentials[field] = verifierText(mechanism, salted)
      }
      return { ...now, credentials }
    })
  }
}

function iterationsOf(credentials: Credentials): ReadonlyMap<ScramName, number> {
  const known = SCRAM_NAMES.flatMap((name) => {
    const stored = credentials[SCRAM_FIELDS[name]]
    const verifier = typeof stored === 'string' ? parseScramVerifier(stored, name) : undefined
    return verifier === undefined ? [] : [[name, verifier.iterations] as const]
  })
  return new Map(known)
}
