/** Random commits, right and wrong, here and on the memory adapter: both must say and hold the same. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createMemoryStorage } from '../memory/memory-adapter.ts'
import type { Operation, StorageAdapter } from '../storage-adapter.ts'
import type { Subject } from './describe-storage-adapter.ts'
import { batchAt, owner, put } from './fixtures.ts'

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
  fc.tuple(name, offset).map(([log, at]) => ({ kind: 'begin-log', log, offset: at }) as const),
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

async function perform(
  adapter: StorageAdapter,
  steps: readonly Step[],
  firstShard: number,
): Promise<string[]> {
  const numbers = [0, 0]
  const outcomes: Promise<string>[] = []
  for (const { kind, shard: which, epoch: at, ...rest } of steps) {
    const number = firstShard + which
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
      numbers[which] = commitNumber + skip
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

async function contentOf(adapter: StorageAdapter, firstShard: number): Promise<unknown> {
  const content: unknown[] = []
  for (const number of [firstShard, firstShard + 1]) {
    const { incarnation, ...stats } = await adapter.stats(number)
    content.push(stats, incarnation === '')
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
    if (adapter.check) expect((await adapter.check(number)).problems).toEqual([])
  }
  return content
}

export function describeDifferential(subject: Subject, isDurable: boolean): void {
  describe('differential', () => {
    test('random commits are answered and kept as the memory adapter does', async () => {
      const memory = createMemoryStorage()
      const done: { firstShard: number; content: unknown }[] = []
      // Each run has two shards of its own.
      let firstShard = 1000
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }),
          async (steps) => {
            firstShard += 2
            const outcomes = await perform(subject.adapter, steps, firstShard)
            expect(outcomes).toEqual(await perform(memory, steps, firstShard))
            const content = await contentOf(memory, firstShard)
            expect(await contentOf(subject.adapter, firstShard)).toEqual(content)
            done.push({ firstShard, content })
          },
        ),
        { numRuns: 40 },
      )
      if (!isDurable) return
      await subject.reopen()
      for (const { firstShard: number, content } of done) {
        expect(await contentOf(subject.adapter, number)).toEqual(content)
      }
    }, 60_000)
  })
}
