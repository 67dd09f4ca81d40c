/** A storage node in a process of its own, over LevelDB: new starts, two clients, kill -9 amid commits. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStorage, type StorageAdapter } from '@robust/storage-adapters'
import { describeStorageAdapter } from '@robust/storage-adapters/conformance'
import { afterAll, afterEach } from 'vitest'
import { type StorageNodeProcess, startStorageNode } from '../support/storage-nodes.ts'

const logger = { info: () => undefined, warn: () => undefined, error: () => undefined }
const root = mkdtempSync(join(tmpdir(), 'robust-node-'))
let node: StorageNodeProcess | undefined
let tests = 0

const folder = (): string => join(root, String(tests))

async function restart(): Promise<void> {
  const port = node?.port ?? 0
  await node?.kill()
  node = await startStorageNode(`leveldb:${folder()}`, { port })
}

const connect = (): Promise<StorageAdapter> =>
  openStorage(`robust://${node?.address}`, { logger, connectMs: 20_000, waitMs: 20_000 })

afterEach(async () => {
  await node?.kill()
  rmSync(folder(), { recursive: true, force: true })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

describeStorageAdapter('a storage node over leveldb', {
  create: async () => {
    tests += 1
    node = undefined
    await restart()
    return connect()
  },
  reopen: async () => {
    await restart()
    return connect()
  },
  another: connect,
  crash: restart,
  durable: true,
  // The rest runs in one process, over the same wire: storage-adapters/src/remote.
  faultsOnly: true,
})
