import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import { describeStorageAdapter } from '../conformance/describe-storage-adapter.ts'
import { openLevelDbStorage } from './leveldb-adapter.ts'

let directory = ''

afterEach(async () => {
  await rm(directory, { recursive: true, force: true })
})

describeStorageAdapter('leveldb', {
  create: async () => {
    directory = await mkdtemp(join(tmpdir(), 'robust-leveldb-'))
    return openLevelDbStorage(directory)
  },
  reopen: () => openLevelDbStorage(directory),
  durable: true,
})
