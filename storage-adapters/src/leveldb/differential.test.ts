/** Random commits, right and wrong, on the memory adapter and on LevelDB: both must say and hold the same. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { batchAt, owner, put } from '../conformance/fixtures.ts'
import { createMemoryStorage } from '../memory/memory-adapter.ts'
import type { Operation, StorageAdapter } from '../storage-adapter.ts'
import { openLevelDbStorage } from './leveldb-adapter.ts'

const name = fc.constantFrom('', 'a', 'a\u0000', 'b', 'ba', 'c')
const offset = fc.nat(6)
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(name, offset, fc.integer({ min: 1, max: 3 })).map(appendOf) },
  { weight: 3, arbitrary: fc.tuple(name, fc.string()).map(([key, value]) => put(key, value)) },
  name.map((key) => ({ kind: 'delete', key }) as const),
  fc.tuple(name, name).map(([from, to]) => ({ kind: 'delete-range', from, to }) as const),
  fc
    .tuple(name, offset)
    .map(([log, beforeOffset]) => ({ kind: 'trim', log, beforeOffset }) as const),
  name.map((log) => ({ kind: 'drop-log', log }) as const),
)

type Step =
  | { kind: 'open' | 'drop'; shard: number; epoch: number }
  | { kind: 'commit'; shard: number; epoch: number; skip: number; operations: Operation[] }

const shard = fc.nat(1)
const epoch = fc.integer({ min: 1, max: 3 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('open' as const), shard, epoch }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('drop' as const), shard, epoch }) },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('commit' as const),
      shard,
      epoch,
      skip: fc.constantFrom(1, 1, 1, 1, 0, 2),
      operations: fc.array(operation, { maxLength: 4 }),
    }),
  },
)

/** Appends follow the end of the log more often than not, since the first offsets are likely ends. */
function appendOf([log, expectedOffset, count]: [string, number, number]): Operation {
  const batch = batchAt(expectedOffset, ...Array<string>(count).fill('x'))
  return { kind: 'append', log, expectedOffset, batch }
}

async function perform(adapter: StorageAdapter, steps: readonly Step[]): Promise<string[]> {
  const numbers = [0, 0]
  const outcomes: Promise<string>[] = []
  for (const { kind, shard: number, epoch: at, ...rest } of steps) {
    if (kind === 'open') {
      const opened = await adapter.open({ shard: number, epoch: at, owner }).catch((e) => e)
      outcomes.push(Promise.resolve(opened.code ?? `opened ${opened.commitNumber}`))
    } else if (kind === 'drop') {
      outcomes.push(
        adapter.drop(number, at).then(
          () => 'dropped',
          (error) => error.code,
        ),
      )
    } else {
      const { skip = 1, operations = [] } = rest as { skip?: number; operations?: Operation[] }
      const { commitNumber } = await adapter.stats(number)
      numbers[number] = commitNumber + skip
      const request = { shard: number, epoch: at, commitNumber: commitNumber + skip, operations }
      outcomes.push(
        adapter.commit(request).then(
          () => 'committed',
          (error) => error.code,
        ),
      )
      // Half of the commits overlap with the next step's.
      if (skip === 1) await outcomes.at(-1)
    }
  }
  return Promise.all(outcomes)
}

async function contentOf(adapter: StorageAdapter): Promise<unknown> {
  const content: unknown[] = []
  for (const number of [0, 1]) {
    content.push(await adapter.stats(number))
    for (const info of await adapter.logs(number)) {
      const { log } = info
      const { batches } = await adapter.read({ shard: number, log, fromOffset: 0, bytesMax: 1e9 })
      content.push(
        info,
        batches.map((batch) => Buffer.from(batch).toString('hex')),
      )
    }
    const entries = await adapter.scan({ shard: number, from: '', to: '', limit: 1e6 })
    content.push(entries.map(({ key, value }) => [key, Buffer.from(value).toString('hex')]))
  }
  return content
}

test('memory and LevelDB answer and hold the same, also after a new start', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }),
      async (steps) => {
        const path = await mkdtemp(join(tmpdir(), 'robust-differential-'))
        const memory = createMemoryStorage()
        let level = await openLevelDbStorage(path)
        try {
          expect(await perform(level, steps)).toEqual(await perform(memory, steps))
          const expected = await contentOf(memory)
          expect(await contentOf(level)).toEqual(expected)
          await level.stop()
          level = await openLevelDbStorage(path)
          expect(await contentOf(level)).toEqual(expected)
        } finally {
          await level.stop()
          await rm(path, { recursive: true, force: true })
        }
      },
    ),
    { numRuns: 60 },
  )
}, 60_000)
