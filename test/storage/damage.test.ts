/**
 * Flipped bits and truncated files under the adapters. What was stored is read back as it was, or is
 * DATA_LOSS: never something else, never silently less; shards that the damage did not meet are served.
 * Short in CI; ROBUST_FAULT_ROUNDS=200 makes it long. A printed ROBUST_SEED repeats the damage.
 */
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StorageAdapter } from '@robust/storage-adapters'
import { append, batchAt, openWriter, owner, put } from '@robust/storage-adapters/conformance'
import { afterEach, describe, expect, test } from 'vitest'
import { seeded } from '../support/faulty-disk.ts'
import { startRedis } from '../support/redis-servers.ts'
import { startStorageNode } from '../support/storage-nodes.ts'
import { cleanUp, onCleanUp, open } from './redis-support.ts'

const rounds = Number(process.env['ROBUST_FAULT_ROUNDS'] ?? 25)
const SHARDS = [1, 2, 3, 4, 5, 6]
const BATCHES = 60

afterEach(cleanUp)

const valueAt = (shard: number, at: number): Buffer =>
  Buffer.alloc(200 + ((shard * 7919 + at * 104_729) % 20_000), `${shard}/${at} `)

/** Shards one after the other, so that files hold few of them each. */
async function fill(adapter: StorageAdapter, shards = SHARDS): Promise<void> {
  for (const shard of shards) {
    const writer = await openWriter(adapter, { shard })
    for (let at = 0; at < BATCHES; at += 1) {
      await writer.commit(
        append('log', at, valueAt(shard, at)),
        put(`key-${at}`, valueAt(shard, at)),
      )
    }
  }
}

/** `whole`, or the message of its DATA_LOSS. Fails on anything else. */
async function stateOf(adapter: StorageAdapter, shard: number): Promise<string> {
  try {
    const { commitNumber } = await adapter.open({ shard, epoch: 2, owner })
    expect(commitNumber).toBe(BATCHES)
    const request = { shard, log: 'log', fromOffset: 0, bytesMax: 1e9 }
    const { batches } = await adapter.read(request)
    expect(batches.length).toBe(BATCHES)
    for (const [at, batch] of batches.entries()) {
      expect(Buffer.compare(batch, batchAt(at, valueAt(shard, at)))).toBe(0)
    }
    for (let at = 0; at < BATCHES; at += 1) {
      const value = await adapter.get(shard, `key-${at}`)
      // A damaged key takes its value out of sight of get; a scan, which checks, follows.
      if (value !== undefined) expect(Buffer.compare(value, valueAt(shard, at))).toBe(0)
    }
    const entries = await adapter.scan({ shard, from: '', to: '', limit: 1000 })
    const problems = (await adapter.check?.(shard))?.problems ?? []
    if (problems.length > 0) return problems.join('; ')
    if (entries.length !== BATCHES) return `unseen: ${entries.length} keys of ${BATCHES}`
    await adapter.commit({ shard, epoch: 2, commitNumber: BATCHES + 1, operations: [put('next')] })
    return 'whole'
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    if (code !== 'DATA_LOSS') throw error
    return message
  }
}

function damageOf(random: () => number, file: string): string {
  const { size } = statSync(file)
  const at = Math.floor(random() * size)
  if (random() < 0.4) {
    truncateSync(file, at)
    return `${file} cut at ${at} of ${size}`
  }
  const bytes = readFileSync(file)
  bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8))
  writeFileSync(file, bytes)
  return `${file} flipped at ${at} of ${size}`
}

describe('LevelDB', () => {
  test(
    `${rounds} damaged files`,
    async () => {
      const random = seeded('damaged files of LevelDB')
      const home = mkdtempSync(join(tmpdir(), 'robust-damaged-'))
      onCleanUp(async () => rmSync(home, { recursive: true, force: true }))
      const source = join(home, 'source')
      // Half of the shards are in tables, the others in the log that is written next.
      for (const shards of [SHARDS.slice(0, 3), SHARDS.slice(3)]) {
        const adapter = await open(`leveldb:${source}`)
        await fill(adapter, shards)
        await adapter.stop()
      }
      const seen = { whole: 0, damaged: 0, refused: 0 }
      for (let round = 0; round < rounds; round += 1) {
        const path = join(home, `round-${round}`)
        cpSync(source, path, { recursive: true })
        const files = (readdirSync(path, { recursive: true }) as string[]).filter((name) =>
          /\.(ldb|log|seg)$/.test(name),
        )
        const what = damageOf(
          random,
          join(path, files[Math.floor(random() * files.length)] as string),
        )
        const damaged = await open(`leveldb:${path}`).catch((error) => {
          expect(error.code, `${what}: ${error.message}`).toBe('DATA_LOSS')
          return undefined
        })
        if (damaged === undefined) seen.refused += 1
        else {
          const states: string[] = []
          for (const shard of SHARDS) {
            states.push(
              await stateOf(damaged, shard).catch((error) => {
                throw new Error(`${what}: shard ${shard}`, { cause: error })
              }),
            )
          }
          const lost = states.filter((state) => state !== 'whole')
          if (lost.length > 0) seen.damaged += 1
          else seen.whole += 1
          expect(
            lost.every((state) => state.length > 10),
            what,
          ).toBe(true)
          expect(lost.length, `${what}: ${lost.join('\n')}`).toBeLessThan(SHARDS.length)
          await damaged.stop()
        }
        rmSync(path, { recursive: true })
      }
      process.stdout.write(`[storage] damaged files: ${JSON.stringify(seen)}\n`)
      expect(seen.damaged).toBeGreaterThan(0)
    },
    60_000 + rounds * 3000,
  )

  test('a database that cannot be read at all ends the node with 65, and is repaired when accepted', async () => {
    const home = mkdtempSync(join(tmpdir(), 'robust-damaged-'))
    onCleanUp(async () => rmSync(home, { recursive: true, force: true }))
    const path = join(home, 'data')
    const adapter = await open(`leveldb:${path}`)
    await fill(adapter)
    const before = await adapter.open({ shard: 1, epoch: 1, owner })
    await adapter.stop()
    const manifest = readdirSync(path).find((name) => name.startsWith('MANIFEST')) as string
    truncateSync(join(path, manifest), 10)
    await expect(startStorageNode(`leveldb:${path}`)).rejects.toThrow(/exit code 65.*DATA_LOSS/)
    const node = await startStorageNode(`leveldb:${path}`, { flags: ['--accept-data-loss'] })
    onCleanUp(() => node.kill())
    const client = await open(`robust://${node.address}`)
    const after = await client.open({ shard: 1, epoch: 3, owner })
    expect(after.incarnation).not.toBe(before.incarnation)
    expect(after.commitNumber).toBe(BATCHES)
  }, 60_000)
})

describe('Redis', () => {
  test(
    `${Math.ceil(rounds / 3)} flipped bits in the append-only file`,
    async () => {
      const random = seeded('damaged append-only file')
      const seen = { whole: 0, damaged: 0, refused: 0 }
      const server = await startRedis()
      onCleanUp(server.remove)
      const adapter = await open(`redis://${server.address}`)
      await fill(adapter)
      await adapter.stop()
      await server.kill()
      const folder = join(server.folder, 'appendonlydir')
      const name = readdirSync(folder).find((file) => file.endsWith('.incr.aof')) as string
      const whole = readFileSync(join(folder, name))
      for (let round = 0; round < Math.ceil(rounds / 3); round += 1) {
        const bytes = Buffer.from(whole)
        const at = Math.floor(random() * bytes.length)
        bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8))
        writeFileSync(join(folder, name), bytes)
        // What breaks the form of the file Redis finds itself, and does not start.
        const isUp = await server.restart().then(
          () => true,
          () => false,
        )
        if (!isUp) {
          seen.refused += 1
          continue
        }
        const damaged = await open(`redis://${server.address}`)
        const states: string[] = []
        for (const shard of SHARDS) states.push(await stateOf(damaged, shard))
        const lost = states.filter((state) => state !== 'whole')
        if (lost.length > 0) seen.damaged += 1
        else seen.whole += 1
        expect(lost.length, `at ${at}: ${lost.join('\n')}`).toBeLessThan(2)
        await damaged.stop()
        await server.kill()
      }
      process.stdout.write(`[storage] damaged append-only file: ${JSON.stringify(seen)}\n`)
      expect(seen.damaged + seen.refused).toBeGreaterThan(0)
    },
    60_000 + rounds * 3000,
  )
})
