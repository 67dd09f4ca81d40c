/** What users may do, as it is kept: for dialects by which rules are looked at and changed. */
import type { Rule } from './access.ts'

export interface Permission extends Rule {
  /** `*` is everybody. */
  readonly user: string
}

export interface StoredPermission extends Permission {
  readonly id: string
}

/** Changes are known everywhere when they resolve; they reject with BrokerError. */
export interface Permissions {
  all(): readonly StoredPermission[]
  /** The same one is there once. */
  add(permissions: readonly Permission[]): Promise<void>
  remove(permissions: readonly StoredPermission[]): Promise<void>
}
