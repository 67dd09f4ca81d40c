import { decodeRecordBatch, encodeRecordBatch } from '@robust/storage-adapters'
import { describe, expect, test } from 'vitest'
import { batchOf, gzipped, LOG, LogBench, markerOf, recordOf } from '../../testing/log-fixtures.ts'
import { newestRecord, offsetForTime } from './time-lookup.ts'

const HOUR = 3_600_000

describe('PartitionLog', () => {
  test('append of records of one turn shares a batch; whole batches keep their place among them', async () => {
    const bench = new LogBench()
    await bench.own()
    const log = await bench.log()
    const done: string[] = []
    expect(log.append(recordOf('a=1'), (outcome) => done.push(`a ${outcome}`))).toBe(0)
    expect(log.append(recordOf('b=2'), (outcome) => done.push(`b ${outcome}`))).toBe(1)
    expect(log.appendBatch(batchOf(['c=3', 'd=4']), () => done.push('batch'))).toEqual({
      baseOffset: 2,
    })
    expect(log.append(recordOf('e=5'), (outcome) => done.push(`e ${outcome}`))).toBe(4)
    expect(log.endOffset).toBe(0)
    await bench.commit()
    expect(done).toEqual(['a committed', 'b committed', 'batch', 'e committed'])
    expect(await bench.contents()).toEqual(['0:a=1', '1:b=2', '2:c=3', '3:d=4', '4:e=5'])
    const { batches } = await bench.storage.read({
      shard: 1,
      log: LOG,
      fromOffset: 0,
      bytesMax: 1 << 20,
    })
    expect(batches.map((batch) => decodeRecordBatch(batch).length)).toEqual([2, 2, 1])
  })

  test('read of the newest batches does not touch storage', async () => {
    const bench = new LogBench()
    await bench.own()
    const log = await bench.log()
    await bench.append(log, batchOf(['a=1']), batchOf(['b=2']))
    const { storage } = bench
    const read = storage.read.bind(storage)
    let reads = 0
    storage.read = (request) => {
      reads++
      return read(request)
    }
    expect(await bench.contents()).toEqual(['0:a=1', '1:b=2'])
    expect(reads).toBe(0)
    await bench.own()
    expect(await bench.contents()).toEqual(['0:a=1', '1:b=2'])
    expect(reads).toBeGreaterThan(0)
  })

  test('offsetForTime and newestRecord are exact in compressed batches too', async () => {
    const bench = new LogBench()
    await bench.own()
    const log = await bench.log()
    const timed = encodeRecordBatch(
      [3_000, 1_000, 9_000, 2_000].map((at) => recordOf('k=v', at)),
      { baseOffset: 0, leaderEpoch: 0 },
    )
    await bench.append(log, batchOf(['a=1'], { timestamp: 500 }), gzipped(timed))
    expect(await offsetForTime(log, 3_001)).toEqual({ offset: 3, timestamp: 9_000 })
    expect(await offsetForTime(log, 900)).toEqual({ offset: 1, timestamp: 3_000 })
    expect(await newestRecord(log)).toEqual({ offset: 3, timestamp: 9_000 })
  })

  test('offsetForTime gives the first record of that time or later, inside a batch too', async () => {
    const bench = new LogBench({ segmentBytes: 200 })
    await bench.own()
    const log = await bench.log()
    for (let i = 0; i < 20; i++) {
      await bench.append(log, batchOf([`k=${i}`], { timestamp: 1_000 + i * 10 }))
    }
    const sparse = await bench.log('topic/sparse/0')
    await bench.append(sparse, batchOf(['a=1', 'b=2'], { timestamp: 500 }))
    sparse.append(recordOf('c=3', 700), () => undefined)
    sparse.append(recordOf('d=4', 900), () => undefined)
    await bench.commit()
    for (const again of [false, true]) {
      if (again) await bench.own()
      const reopened = await bench.log()
      expect(reopened.segments.all.length).toBeGreaterThan(5)
      expect(await offsetForTime(reopened, 0)).toEqual({ offset: 0, timestamp: 1_000 })
      expect(await offsetForTime(reopened, 1_051)).toEqual({ offset: 6, timestamp: 1_060 })
      expect(await offsetForTime(reopened, 1_190)).toEqual({ offset: 19, timestamp: 1_190 })
      expect(await offsetForTime(reopened, 1_191)).toBeUndefined()
      const other = await bench.log('topic/sparse/0')
      expect(await offsetForTime(other, 701)).toEqual({ offset: 3, timestamp: 900 })
    }
  })

  test('deleteBefore hides records at once and frees whole batches, over a change of owner', async () => {
    const bench = new LogBench({ segmentBytes: 300 })
    await bench.own()
    const log = await bench.log()
    for (let i = 0; i < 10; i++) await bench.append(log, batchOf([`a=${i}`, `b=${i}`]))
    log.deleteBefore(7)
    expect((await bench.contents())[0]).toBe('7:b=3')
    await bench.commit()
    await bench.own()
    expect((await bench.contents())[0]).toBe('7:b=3')
    const [info] = await bench.storage.logs(1)
    expect(info).toMatchObject({ startOffset: 6, endOffset: 20 })
    const reopened = await bench.log()
    reopened.deleteBefore(1_000)
    await bench.commit()
    expect(reopened.startOffset).toBe(20)
    await bench.append(reopened, batchOf(['next=1']))
    expect(await bench.contents()).toEqual(['20:next=1'])
  })

  test('drop leaves nothing, neither batches nor keys', async () => {
    const bench = new LogBench({ segmentBytes: 200 })
    await bench.own()
    const log = await bench.log()
    const batches = [0, 1, 2].map((i) =>
      batchOf(['a=1'], { producerId: 7, producerEpoch: 0, baseSequence: i }),
    )
    await bench.append(log, ...batches)
    await bench.append(await bench.log('topic/t/0x'), batchOf(['kept=1']))
    await bench.shard.drop(LOG)
    await bench.commit()
    expect((await bench.storage.logs(1)).map(({ log: name }) => name)).toEqual(['topic/t/0x'])
    const keys = await bench.storage.scan({ shard: 1, from: '', to: '', limit: 100 })
    expect(keys.filter(({ key }) => key.startsWith(`log\0${LOG}\0`))).toEqual([])
  })
})

describe('PartitionLog and its producers', () => {
  const from = (baseSequence: number, more: { producerEpoch?: number; count?: number } = {}) =>
    batchOf(
      Array.from({ length: more.count ?? 1 }, (_, i) => `k=${baseSequence + i}`),
      {
        producerId: 9,
        producerEpoch: more.producerEpoch ?? 0,
        baseSequence,
      },
    )

  test.each([
    ['without a change of owner', undefined],
    ['after the owner died', { orderly: false }],
    ['after an orderly hand-over', { orderly: true }],
  ])('a retry of any of the last five batches is recognised, %s', async (_name, change) => {
    const bench = new LogBench({ segmentBytes: 250 })
    await bench.own()
    await bench.append(await bench.log(), ...[0, 1, 2, 3, 4, 5, 6].map((at) => from(at)))
    if (change !== undefined) await bench.own(change)
    const log = await bench.log()
    const append = (batch: Uint8Array) => log.appendBatch(batch, () => undefined)
    for (const at of [2, 3, 4, 5, 6]) {
      expect(append(from(at))).toEqual({ kind: 'duplicate', baseOffset: at })
    }
    expect(append(from(1))).toEqual({ kind: 'out-of-order' })
    expect(append(from(8))).toEqual({ kind: 'out-of-order' })
    expect(append(from(6, { count: 2 }))).toEqual({ kind: 'out-of-order' })
    expect(append(from(7))).toEqual({ baseOffset: 7 })
    expect(append(from(3, { producerEpoch: 1 }))).toEqual({ kind: 'out-of-order' })
    expect(append(from(0, { producerEpoch: 1 }))).toEqual({ baseOffset: 8 })
    expect(append(from(8))).toEqual({ kind: 'fenced' })
    await bench.commit()
    expect(await bench.contents()).toHaveLength(9)
  })

  test('sequence numbers begin again at 0 after the largest', async () => {
    const bench = new LogBench()
    await bench.own()
    const log = await bench.log()
    await bench.append(log, from(0x7fff_fffe, { count: 2 }))
    expect(log.appendBatch(from(0), () => undefined)).toEqual({ baseOffset: 2 })
    expect(log.appendBatch(from(0x7fff_fffe, { count: 2 }), () => undefined)).toEqual({
      kind: 'duplicate',
      baseOffset: 0,
    })
  })

  test('done of a duplicate runs when the first one is durable', async () => {
    const bench = new LogBench()
    await bench.own()
    const log = await bench.log()
    const done: string[] = []
    log.appendBatch(from(0), () => done.push('first'))
    log.appendBatch(from(0), () => done.push('again'))
    expect(done).toEqual([])
    await bench.commit()
    expect(done).toEqual(['first', 'again'])
  })

  test.each([false, true])(
    'open and aborted transactions are known, after a change of owner: %s',
    async (moves) => {
      const bench = new LogBench({ segmentBytes: 300 })
      await bench.own()
      const log = await bench.log()
      const tx = (producerId: number, baseSequence: number, text: string) =>
        batchOf([text], { producerId, producerEpoch: 0, baseSequence, transactional: true })
      await bench.append(
        log,
        ...[tx(1, 0, 'a=1'), tx(2, 0, 'b=1'), tx(1, 1, 'a=2'), markerOf('abort', 1)],
        ...[tx(3, 0, 'c=1'), markerOf('commit', 3), batchOf(['plain=1'])],
      )
      if (moves) await bench.own()
      const now = await bench.log()
      expect(now.stableOffset).toBe(1)
      expect(now.producers.aborted).toEqual([{ producerId: 1, firstOffset: 0, lastOffset: 3 }])
      await bench.append(now, markerOf('commit', 2))
      expect(now.stableOffset).toBe(now.endOffset)
      now.deleteBefore(4)
      await bench.commit()
      expect(now.producers.aborted).toEqual([])
      await bench.own()
      expect((await bench.log()).producers.aborted).toEqual([])
    },
  )

  test('a producer that was silent for a day is forgotten', async () => {
    const bench = new LogBench({ retentionMs: undefined })
    await bench.own()
    const log = await bench.log()
    await bench.append(log, from(0))
    await bench.clock.advance(25 * HOUR)
    expect(log.producers.isEmpty).toBe(true)
    expect(log.appendBatch(from(500), () => undefined)).toEqual({ baseOffset: 1 })
  })
})
