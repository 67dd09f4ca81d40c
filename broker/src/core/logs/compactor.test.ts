import { decodeRecordBatch, nextOffset } from '@robust/storage-adapters'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { batchOf, gzipped, LOG, LogBench, markerOf, recordOf } from '../../testing/log-fixtures.ts'
import type { LogPolicy } from './log-policy.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

const COMPACTED: Partial<LogPolicy> = {
  retentionMs: undefined,
  compact: true,
  dirtyRatio: 0,
  segmentBytes: 400,
  segmentMs: MINUTE,
  tombstoneDelayMs: HOUR,
}

/** Long enough for every segment to be closed and looked at. */
const A_WHILE = 2 * MINUTE

async function storedBytes(bench: LogBench): Promise<number> {
  const logs = await bench.storage.logs(1)
  return logs.find(({ log }) => log === LOG)?.bytes ?? 0
}

describe('compaction', () => {
  test('keeps the newest record of each key at its offset', async () => {
    const bench = new LogBench(COMPACTED)
    await bench.own()
    const log = await bench.log()
    for (let i = 0; i < 30; i++) await bench.append(log, batchOf([`a=${i}`, `b${i % 3}=${i}`]))
    const before = await storedBytes(bench)
    await bench.clock.advance(A_WHILE)
    expect(await bench.contents()).toEqual(['55:b0=27', '57:b1=28', '58:a=29', '59:b2=29'])
    expect(log.endOffset).toBe(60)
    expect(await storedBytes(bench)).toBeLessThan(before / 5)
    await bench.own()
    expect(await bench.contents()).toEqual(['55:b0=27', '57:b1=28', '58:a=29', '59:b2=29'])
    expect(bench.errors).toEqual([])
  })

  test('a tombstone goes after its delay, the value it deletes at once', async () => {
    const bench = new LogBench(COMPACTED)
    await bench.own()
    const log = await bench.log()
    await bench.append(log, batchOf(['a=1']), batchOf(['b=1']), batchOf(['a']))
    await bench.clock.advance(A_WHILE)
    expect(await bench.contents()).toEqual(['1:b=1', '2:a=-'])
    await bench.own({ orderly: true })
    await bench.clock.advance(HOUR / 2)
    expect(await bench.contents()).toEqual(['1:b=1', '2:a=-'])
    await bench.clock.advance(HOUR)
    expect(await bench.contents()).toEqual(['1:b=1'])
    expect((await bench.log()).endOffset).toBe(3)
  })

  test('looks into what is compressed, and leaves what needs no change as it came', async () => {
    const bench = new LogBench(COMPACTED)
    await bench.own()
    const whole = gzipped(batchOf(['c=1', 'd=1']))
    const log = await bench.log()
    await bench.append(log, gzipped(batchOf(['a=1', 'b=1'])), whole, batchOf(['a=2']))
    await bench.clock.advance(A_WHILE)
    expect(await bench.contents()).toEqual(['1:b=1', '2:c=1', '3:d=1', '4:a=2'])
    const { batches } = await log.read(2, 1)
    expect(batches[0]?.subarray(21)).toEqual(new Uint8Array(whole.subarray(21)))
    expect(bench.errors).toEqual([])
  })

  test('records without a key stay', async () => {
    const bench = new LogBench(COMPACTED)
    await bench.own()
    await bench.append(await bench.log(), batchOf(['=1', '=2', 'a=1', 'a=2']))
    await bench.clock.advance(A_WHILE)
    expect(await bench.contents()).toEqual(['0:=1', '1:=2', '3:a=2'])
  })

  test('never reaches an open transaction, and lets an aborted one shadow nothing', async () => {
    const bench = new LogBench(COMPACTED)
    await bench.own()
    const log = await bench.log()
    const tx = (producerId: number, baseSequence: number, text: string) =>
      batchOf([text], { producerId, producerEpoch: 0, baseSequence, transactional: true })
    await bench.append(
      log,
      ...[batchOf(['a=kept']), batchOf(['b=old']), tx(1, 0, 'a=aborted'), tx(2, 0, 'b=new')],
      ...[markerOf('abort', 1), markerOf('commit', 2), tx(3, 0, 'a=open'), batchOf(['b=last'])],
    )
    await bench.clock.advance(A_WHILE)
    const isData = (text: string) => /:\w/.test(text)
    const data = async () => (await bench.contents()).filter(isData)
    // What lies before the open transaction is compacted; nothing in it or behind it counts yet.
    expect(await data()).toEqual(['0:a=kept', '3:b=new', '6:a=open', '7:b=last'])
    await bench.append(log, markerOf('abort', 3))
    await bench.clock.advance(A_WHILE)
    expect(await data()).toEqual(['0:a=kept', '7:b=last'])
    expect((await bench.contents()).filter((text) => !isData(text))).toHaveLength(3)
    await bench.clock.advance(2 * HOUR)
    expect(await bench.contents()).toEqual(['0:a=kept', '7:b=last'])
  })

  test('a producer goes on over the compaction of its batches', async () => {
    const bench = new LogBench(COMPACTED)
    await bench.own()
    const log = await bench.log()
    const from = (baseSequence: number) =>
      batchOf(['k=1'], { producerId: 5, producerEpoch: 0, baseSequence })
    for (let at = 0; at < 8; at++) await bench.append(log, from(at))
    await bench.clock.advance(A_WHILE)
    expect(await bench.contents()).toEqual(['7:k=1'])
    await bench.own()
    const again = await bench.log()
    expect(again.appendBatch(from(6), () => undefined)).toEqual({
      kind: 'duplicate',
      baseOffset: 6,
    })
    expect(again.appendBatch(from(8), () => undefined)).toEqual({ baseOffset: 8 })
  })

  test('a deletion that meets a compaction under way wins', async () => {
    const bench = new LogBench(COMPACTED)
    await bench.own()
    const log = await bench.log()
    for (let i = 0; i < 20; i++) await bench.append(log, batchOf([`a=${i}`, `b=${i}`]))
    const { storage } = bench
    const read = storage.read.bind(storage)
    let reads = 0
    storage.read = async (request) => {
      const result = await read(request)
      if (++reads === 8) log.deleteBefore(15)
      return result
    }
    await bench.clock.advance(A_WHILE)
    storage.read = read
    expect(reads).toBeGreaterThan(8)
    await bench.clock.advance(A_WHILE)
    expect(bench.errors).toEqual([])
    expect(await bench.contents()).toEqual(['38:a=19', '39:b=19'])
  })

  test('any history ends as its newest values, over owners that die at any moment', async () => {
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.record({ key: fc.nat(5), value: fc.option(fc.nat(99)) }) },
      { weight: 1, arbitrary: fc.constant('own' as const) },
      { weight: 2, arbitrary: fc.constant('wait' as const) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const bench = new LogBench(COMPACTED)
        await bench.own()
        const model = new Map<string, string>()
        let appended = 0
        for (const one of steps) {
          if (one === 'own') await bench.own()
          else if (one === 'wait') await bench.clock.advance(70_000)
          else {
            const text = one.value === null ? `k${one.key}` : `k${one.key}=${one.value}`
            await bench.append(await bench.log(), batchOf([text]))
            model.set(`k${one.key}`, `${appended}:k${one.key}=${one.value ?? '-'}`)
            appended++
          }
        }
        await bench.clock.advance(2 * A_WHILE)
        const log = await bench.log()
        expect(log.endOffset).toBe(appended)
        const values = [...model.values()].filter((text) => !text.endsWith('=-'))
        const contents = await bench.contents()
        expect(contents.filter((text) => !text.endsWith('=-')).sort()).toEqual(values.sort())
        expect(bench.errors).toEqual([])
      }),
      { numRuns: 60 },
    )
  }, 60_000)
})

describe('retention', () => {
  test('a log of what was deleted goes with everything that is kept about it', async () => {
    const bench = new LogBench({ segmentBytes: 300 })
    await bench.own()
    for (let i = 0; i < 9; i++) await bench.append(await bench.log(), batchOf([`a=${i}`]))
    await bench.append(await bench.log('topic/u/0'), batchOf(['b=1']))
    bench.deleted.add(LOG)
    await bench.own()
    await bench.clock.advance(MINUTE)
    expect((await bench.storage.logs(1)).map(({ log }) => log)).toEqual(['topic/u/0'])
    const keys = await bench.storage.scan({ shard: 1, from: '', to: '', limit: 100 })
    expect(keys.filter(({ key }) => key.includes(LOG))).toEqual([])
  })

  test.each([
    ['size', { retentionMs: undefined, retentionBytes: 20_000 }],
    ['time', { retentionMs: 10 * MINUTE, retentionBytes: undefined, segmentMs: MINUTE }],
  ])('by %s frees space while ten times as much is written', async (_by, policy) => {
    const bench = new LogBench({ ...policy, segmentBytes: 2_000 })
    await bench.own()
    const log = await bench.log()
    const value = 'x'.repeat(900)
    let largest = 0
    for (let i = 0; i < 220; i++) {
      const timestamp = bench.clock.wallMs()
      await bench.append(log, batchOf([`=${i}${value}`], { timestamp }))
      await bench.clock.advance(30_000)
      largest = Math.max(largest, await storedBytes(bench))
    }
    expect(largest).toBeLessThan(26_000)
    expect(log.startOffset).toBeGreaterThan(190)
    expect(log.endOffset).toBe(220)
    const { batches } = await log.read(log.startOffset, 1 << 20)
    expect(batches).toHaveLength(220 - log.startOffset)
    const keys = await bench.storage.scan({ shard: 1, from: '', to: '', limit: 1_000 })
    expect(keys.length).toBeLessThan(20)
  })

  test('by time empties a log that nobody writes any more, and it goes on', async () => {
    const bench = new LogBench({ retentionMs: HOUR, segmentMs: 10 * HOUR })
    await bench.own()
    const log = await bench.log()
    await bench.append(log, batchOf(['a=1', 'b=2'], { timestamp: bench.clock.wallMs() }))
    await bench.clock.advance(HOUR / 2)
    expect(await bench.contents()).toHaveLength(2)
    await bench.own()
    await bench.clock.advance(HOUR)
    expect(await bench.contents()).toEqual([])
    expect(await storedBytes(bench)).toBe(0)
    const again = await bench.log()
    again.append(recordOf('c=3', bench.clock.wallMs()), () => undefined)
    await bench.commit()
    expect(await bench.contents()).toEqual(['2:c=3'])
  })

  test('a log whose name has no policy is left alone', async () => {
    const bench = new LogBench({ retentionMs: 1 })
    await bench.own()
    bench.writer.append('inbox/a', recordOf('a=1'))
    await bench.clock.advance(HOUR)
    expect((await bench.storage.logs(1)).map(({ bytes }) => bytes)).not.toContain(0)
  })
})

test('a day of retention and compaction keeps space bounded and the newest values', async () => {
  const bench = new LogBench({
    ...COMPACTED,
    dirtyRatio: 0.5,
    segmentBytes: 20_000,
    segmentMs: 30 * MINUTE,
  })
  await bench.own()
  const model = new Map<string, string>()
  let largest = 0
  let offset = 0
  for (let minute = 0; minute < 24 * 60; minute++) {
    const log = await bench.log()
    const texts = Array.from({ length: 5 }, (_, i) => {
      const key = `k${(minute * 7 + i * 13) % 40}`
      return (minute + i) % 11 === 0 ? key : `${key}=${minute}.${i}`
    })
    await bench.append(log, batchOf(texts, { timestamp: bench.clock.wallMs() }))
    for (const text of texts) {
      const [key = '', value] = text.split('=')
      model.set(key, `${offset++}:${key}=${value ?? '-'}`)
    }
    await bench.clock.advance(MINUTE)
    if (minute % 97 === 0) await bench.own({ orderly: minute % 2 === 0 })
    largest = Math.max(largest, await storedBytes(bench))
  }
  await bench.clock.advance(2 * HOUR)
  const left = await bench.contents()
  const values = [...model.values()].filter((text) => !text.endsWith('=-'))
  for (const value of values) expect(left).toContain(value)
  expect(left.length).toBeLessThan(500)
  // 7,200 records were written, some 250,000 bytes.
  expect(largest).toBeLessThan(80_000)
  expect(bench.errors).toEqual([])
}, 60_000)

test('every batch that compaction leaves joins the next', async () => {
  const bench = new LogBench(COMPACTED)
  await bench.own()
  const log = await bench.log()
  for (let i = 0; i < 40; i++) await bench.append(log, batchOf([`a=${i}`]))
  await bench.clock.advance(A_WHILE)
  const { batches } = await bench.storage.read({
    shard: 1,
    log: LOG,
    fromOffset: 0,
    bytesMax: 1 << 20,
  })
  expect(batches.length).toBeLessThan(10)
  let next = 0
  for (const batch of batches) {
    decodeRecordBatch(batch)
    expect(nextOffset(batch)).toBeGreaterThan(next)
    next = nextOffset(batch)
  }
  expect(next).toBe(40)
})
