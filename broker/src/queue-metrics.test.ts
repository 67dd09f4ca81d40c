import { afterEach, describe, expect, test } from 'vitest'
import { newQueueCounts } from './core/queues/hosted-queues.ts'
import { createMetrics, type MetricsSnapshot } from './observability/metrics.ts'
import { measuredQueues, ofQueues, QUEUES_MEASURED_MAX, queueGauges } from './queue-metrics.ts'
import { QUEUE, QueueBench } from './testing/queue-fixtures.ts'

let bench: QueueBench | undefined

afterEach(() => {
  bench?.shard.stop()
  bench = undefined
})

/** As somebody who scrapes reads it: a number by its name and labels. */
async function scrape(of: QueueBench): Promise<Map<string, number>> {
  const metrics = createMetrics('b1', async () => {
    const measured = await measuredQueues({ all: () => [{ queues: of.shard }] })
    const counters = {
      queue_sent_total: ofQueues(measured.usages, 'sent'),
      queue_received_total: ofQueues(measured.usages, 'received'),
      queue_deleted_total: ofQueues(measured.usages, 'deleted'),
      queue_dead_lettered_total: ofQueues(measured.usages, 'deadLettered'),
    }
    const gauges = queueGauges(measured, of.clock.wallMs())
    return { gauges, counters, histograms: {} } as unknown as MetricsSnapshot
  })
  const found = new Map<string, number>()
  for (const line of (await metrics.render()).split('\n')) {
    const [, name, value] = /^robust_(queue.*?),?(?:node="b1")?\} (\S+)$/.exec(line) ?? []
    if (name !== undefined) found.set(name.replaceAll('"', ''), Number(value))
  }
  return found
}

describe('metrics of queues', () => {
  test('say how many messages there are, how old, and what became of all', async () => {
    bench = new QueueBench({ deliveriesMax: 1, deadLetterQueue: 'dead' })
    bench.define('dead')
    await bench.own()
    await bench.send(['a', 'b', 'c', 'd', ['e', { 'deliver-at': `${bench.clock.wallMs() + 9e5}` }]])
    await bench.clock.advance(2_000)
    const [a, b, c] = await bench.receive({ max: 3 })
    await bench.settle(
      'acknowledge',
      [a, b].flatMap((each) => each ?? []),
    )
    const labels = `tenant=default,queue=${QUEUE}`
    const found = await scrape(bench)
    const of = (name: string) => found.get(name)
    expect(
      ['ready', 'in-flight', 'delayed'].map((state) =>
        of(`queue_messages{${labels},state=${state}`),
      ),
    ).toEqual([1, 1, 1])
    expect(of(`queue_oldest_age_seconds{${labels}`)).toBe(2)
    const totals = ['sent', 'received', 'deleted', 'dead_lettered']
    const counts = async (queue: string) => {
      const all = await scrape(bench as QueueBench)
      return totals.map((name) => all.get(`queue_${name}_total{tenant=default,queue=${queue}`))
    }
    expect(await counts(QUEUE)).toEqual([5, 3, 2, 0])
    // What was delivered once and comes back goes to the dead letters.
    await bench.settle({ kind: 'release', delayMs: 0, failed: true }, c === undefined ? [] : [c])
    await bench.clock.advance(1_000)
    expect(await counts(QUEUE)).toEqual([5, 3, 2, 1])
    expect(await counts('dead')).toEqual([1, 0, 0, 0])
    // Another owner in the same process goes on counting.
    await bench.own()
    expect(await counts(QUEUE)).toEqual([5, 3, 2, 1])
  })
})

test('a limited number of queues has series, the first by name', async () => {
  const names = Array.from(
    { length: QUEUES_MEASURED_MAX + 3 },
    (_, at) => `q${1_000 + at}`,
  ).reverse()
  const usage = (queue: string) =>
    Promise.resolve({
      ...{ queue, ready: 0, inFlight: 0, delayed: 0, oldestAtMs: undefined },
      counts: newQueueCounts(),
    })
  const { usages, others } = await measuredQueues({
    all: () => [{ queues: { names: () => names, usage } }],
  })
  expect([usages.length, usages[0]?.queue, others]).toEqual([QUEUES_MEASURED_MAX, 'q1000', 3])
})
