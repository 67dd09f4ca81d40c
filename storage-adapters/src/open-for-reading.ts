/** Opens a storage for tools that only read, and leaves no trace in it. */
import { StorageError } from './errors.ts'
import { openLevelDbStorage } from './leveldb/leveldb-adapter.ts'
import { copyForReading } from './leveldb/linked-copy.ts'
import { type OpenStorageOptions, openStorage } from './open-storage.ts'
import type { StorageAdapter } from './storage-adapter.ts'

/** As `openStorage`. Rejects with INVALID for what is empty by nature, and for a path with no storage. */
export async function openStorageForReading(
  url: string,
  options: OpenStorageOptions,
): Promise<{ readonly adapter: StorageAdapter; stop(): Promise<void> }> {
  if (url.startsWith('memory:')) {
    throw new StorageError(
      'INVALID',
      'memory: is empty in a new process; ask the node that holds it',
    )
  }
  const [, path] = /^leveldb:(.+)$/.exec(url) ?? []
  if (path === undefined) {
    const adapter = await openStorage(url, options)
    return { adapter, stop: () => adapter.stop() }
  }
  const copy = await copyForReading(path)
  try {
    const adapter = await openLevelDbStorage(copy.path)
    return {
      adapter,
      stop: async () => {
        await adapter.stop()
        await copy.remove()
      },
    }
  } catch (error) {
    await copy.remove()
    throw error
  }
}
