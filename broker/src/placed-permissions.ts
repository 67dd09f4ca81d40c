/** Permissions in the metadata, for dialects that change them. */
import { permissionName } from '@robust/proto'
import { changeResources, type ResourceChanges } from './cluster/change-resources.ts'
import type { Permission, Permissions, StoredPermission } from './security/permissions.ts'

const KIND = 'permission'

export class PlacedPermissions implements Permissions {
  readonly #options: ResourceChanges

  constructor(options: ResourceChanges) {
    this.#options = options
  }

  all(): readonly StoredPermission[] {
    const known = this.#options.metadata.resources.list(KIND)
    return Array.from(known, ({ name: id, value }) => {
      const permission = JSON.parse(value) as Permission
      return { ...permission, allow: permission.allow ?? true, id }
    })
  }

  async add(permissions: readonly Permission[]): Promise<void> {
    await this.#change(permissions.map((one) => [permissionName(one), JSON.stringify(one)]))
  }

  async remove(permissions: readonly StoredPermission[]): Promise<void> {
    await this.#change(permissions.map(({ id }) => [id, undefined]))
  }

  /** Whatever is there: a permission says nothing else under another version. */
  async #change(changes: readonly (readonly [name: string, value: string | undefined])[]) {
    if (changes.length === 0) return
    const unique = new Map(changes)
    await changeResources(
      this.#options,
      [...unique].map(([name, value]) => ({
        ...{ key: { kind: KIND, tenant: '', name }, value, expectedVersion: undefined },
      })),
    )
  }
}
