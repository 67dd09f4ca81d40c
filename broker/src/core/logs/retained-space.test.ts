/**
 * What retention deletes gives its room back, in every adapter that needs no server of its own (Redis:
 * test/storage). Ten times of what is kept is written; the tasks of the log delete the rest.
 */
import { randomFillSync } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  connectRemoteStorage,
  createMemoryStorage,
  createStorageService,
  openLevelDbStorage,
  type StorageAdapter,
} from '@robust/storage-adapters'
import { afterEach, expect, test } from 'vitest'
import { LOG, LogBench } from '../../testing/log-fixtures.ts'

const MEBIBYTE = 1024 ** 2
const WRITTEN = 10
const RECORD_BYTES = 256 * 1024

const logger = { info: () => undefined, warn: () => undefined, error: () => undefined }
const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

interface Subject {
  readonly storage: StorageAdapter
  readonly keptBytes: number
  /** Bytes that are taken, of memory or of the disk. */
  readonly spaceBytes: () => number
  /** Of the engine, whatever is kept. */
  readonly ownBytes: number
}

/** Only what is not freed would not fit. */
function memory(): Subject {
  const keptBytes = 12 * MEBIBYTE
  const bytesMax = 3 * keptBytes
  const storage = createMemoryStorage({ bytesMax })
  const spaceBytes = (): number => (storage.pressure ?? 1) * bytesMax
  return { storage, keptBytes, spaceBytes, ownBytes: 0 }
}

async function levelDb(hasSegments: boolean): Promise<Subject> {
  const directory = mkdtempSync(join(tmpdir(), 'robust-space-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  const segmentLimits = { batchBytesMin: 0, groupBytesMin: hasSegments ? 0 : Infinity }
  const storage = await openLevelDbStorage(directory, { segmentLimits })
  cleanups.push(() => storage.stop())
  // A segment file is used up to 64 MiB, and another may be half wanted.
  const [keptBytes, ownBytes] = hasSegments ? [24, 96] : [12, 40]
  return {
    storage,
    keptBytes: keptBytes * MEBIBYTE,
    spaceBytes: () => filesIn(directory),
    ownBytes: ownBytes * MEBIBYTE,
  }
}

async function remote(): Promise<Subject> {
  const behind = await levelDb(false)
  const service = createStorageService({
    adapter: behind.storage,
    host: '127.0.0.1',
    port: 0,
    logger,
  })
  await service.start()
  cleanups.push(() => service.stop())
  const storage = await connectRemoteStorage({ addresses: [`127.0.0.1:${service.port}`], logger })
  cleanups.push(() => storage.stop())
  return { ...behind, storage }
}

function filesIn(directory: string): number {
  let bytes = 0
  for (const entry of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    // A file may go between the two.
    const found = statSync(join(directory, entry), { throwIfNoEntry: false })
    if (found?.isFile() === true) bytes += found.size
  }
  return bytes
}

test.each([
  ['memory', memory],
  ['LevelDB', () => levelDb(false)],
  ['LevelDB with segment files', () => levelDb(true)],
  ['remote', remote],
])(
  '%s takes no more room when ten times as much is written as is kept',
  async (_name, make) => {
    const { storage, keptBytes, spaceBytes, ownBytes } = await make()
    const records = keptBytes / RECORD_BYTES
    const policy = { retentionMs: undefined, retentionBytes: keptBytes, segmentBytes: MEBIBYTE }
    const bench = new LogBench(policy, storage)
    await bench.own()
    const log = await bench.log()
    const bound = 1.5 * keptBytes + ownBytes
    for (let round = 0; round < WRITTEN; round++) {
      for (let at = 0; at < records; at++) {
        const value = randomFillSync(Buffer.alloc(RECORD_BYTES))
        log.append({ timestamp: 1, key: null, value, headers: [] }, () => undefined)
        await bench.commit()
        if (at % 8 === 0) await bench.clock.advance(5_000)
      }
      await bench.clock.advance(5_000)
      await bench.commit()
      // Once trimmed it is freed, at the latest a moment later: an engine merges its files when it comes to it.
      const more = `round ${round}`
      await expect
        .poll(spaceBytes, { timeout: 20_000, message: more })
        .toBeLessThan(bound + keptBytes)
    }
    const [info] = (await storage.logs(1)).filter(({ log: name }) => name === LOG)
    expect(info?.endOffset).toBe(WRITTEN * records)
    expect(info?.bytes).toBeLessThan(keptBytes + 3 * MEBIBYTE)
    await expect.poll(spaceBytes, { timeout: 20_000 }).toBeLessThan(bound)
    expect(bench.errors).toEqual([])
  },
  120_000,
)
