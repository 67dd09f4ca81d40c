/** By which SCRAM users may come in, for dialects by which that is looked at and changed. */
import type { SaltedPassword, ScramName } from './scram.ts'

export interface ScramUsers {
  /** Users that may come in by SCRAM, with the work that each verifier asks for. */
  all(): ReadonlyMap<string, ReadonlyMap<ScramName, number>>
  /**
   * Undefined: nobody may come in as the user by the mechanism any more. A user that is not there is made, without
   * rights. Resolves when that is known everywhere. Rejects with BrokerError.
   */
  set(user: string, changes: ReadonlyMap<ScramName, SaltedPassword | undefined>): Promise<void>
}
