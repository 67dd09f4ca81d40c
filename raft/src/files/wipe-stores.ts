/** Empties what a damaged member had on its disk. */
import { mkdir, open, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Removes the directories of a member's log and snapshots with all that is in them, durably. The member
 * must not be running, and must have left its cluster: see replaceDamagedMember.
 */
export async function wipeStores(directories: readonly string[]): Promise<void> {
  for (const path of directories) {
    await rm(path, { recursive: true, force: true })
    await mkdir(dirname(path), { recursive: true })
    const parent = await open(dirname(path), 'r')
    try {
      await parent.sync()
    } finally {
      await parent.close()
    }
  }
}
