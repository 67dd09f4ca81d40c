/** What holds when the service behind an adapter is killed amid commits and started again. */
import { describe, expect, test } from 'vitest'
import { StorageError } from '../errors.ts'
import { nextOffset } from '../record-batch/record-batch.ts'
import type { StorageAdapter } from '../storage-adapter.ts'
import type { Subject } from './describe-storage-adapter.ts'
import { append, keysOf, owner, put, readAll } from './fixtures.ts'

const shards = [1, 2, 3, 4]
const commitsBeforeCrash = 15

/** Commits to one shard as its owner does: what is unknown is opened again, then repeated. */
async function commitUntil(
  adapter: StorageAdapter,
  shard: number,
  isDone: (acknowledged: number) => boolean,
): Promise<number> {
  let acknowledged = 0
  let isOpen = false
  while (!isDone(acknowledged)) {
    const at = acknowledged
    try {
      const { commitNumber } = isOpen
        ? { commitNumber: at }
        : await adapter.open({ shard, epoch: 1, owner })
      isOpen = true
      expect([at, at + 1], 'what was acknowledged is there').toContain(commitNumber)
      if (commitNumber === at) {
        const value = Buffer.alloc(1 + ((at * 7919) % 40_000), 'x')
        const operations = [
          append('one', at, value),
          put(`key-${at}`, value),
          append('two', at, value),
          ...(at > 0 ? [{ kind: 'delete', key: `key-${at - 1}` } as const] : []),
        ]
        await adapter.commit({ shard, epoch: 1, commitNumber: at + 1, operations })
      }
      acknowledged += 1
    } catch (error) {
      const code = error instanceof StorageError ? error.code : undefined
      if (code !== 'UNAVAILABLE' && code !== 'NOT_OPEN') throw error
      isOpen = false
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  return acknowledged
}

export function describeCrash(subject: Subject, crash: () => Promise<void>): void {
  describe('crash', () => {
    test('amid commits: all that was acknowledged is there, each commit whole or not at all', async () => {
      const { adapter } = subject
      let isBack = false
      let first = 0
      const running = shards.map((shard) => {
        let more = commitsBeforeCrash
        return commitUntil(adapter, shard, (acknowledged) => {
          first = Math.max(first, acknowledged)
          if (isBack) more -= 1
          return more === 0
        })
      })
      await expect.poll(() => first, { timeout: 20_000 }).toBeGreaterThan(commitsBeforeCrash)
      await crash()
      isBack = true
      const acknowledged = await Promise.all(running)
      for (const [at, shard] of shards.entries()) {
        const count = acknowledged[at] as number
        for (const log of ['one', 'two']) {
          const batches = await readAll(adapter, log, { shard, bytesMax: 1e9 })
          expect(batches.length).toBe(count)
          expect(nextOffset(batches.at(-1) as Uint8Array)).toBe(count)
        }
        expect(await keysOf(adapter, { shard })).toEqual([`key-${count - 1}`])
        expect(await adapter.stats(shard)).toMatchObject({ commitNumber: count, logs: 2, keys: 1 })
      }
    }, 60_000)
  })
}
