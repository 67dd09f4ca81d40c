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

/** As it is, and with every batch in a segment file. */
for (const [name, options] of [
  ['leveldb', {}],
  ['leveldb with segment files', { segmentLimits: { batchBytesMin: 1, groupBytesMin: 1 } }],
] as const) {
  describeStorageAdapter(name, {
    create: async () => {
      directory = await mkdtemp(join(tmpdir(), 'robust-leveldb-'))
      return openLevelDbStorage(directory, options)
    },
    reopen: () => openLevelDbStorage(directory, options),
    durable: true,
  })
}
