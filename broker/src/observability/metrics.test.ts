import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Latencies } from '../core/ports/telemetry.ts'
import {
  COUNTERS,
  createMetrics,
  GAUGES,
  HISTOGRAMS,
  type MetricsSnapshot,
  PREFIX,
} from './metrics.ts'

const docs = readFileSync(resolve(import.meta.dirname, '../../../docs/metrics.md'), 'utf8')

function emptySnapshot(): MetricsSnapshot {
  const none = (families: object) =>
    Object.fromEntries(Object.keys(families).map((name) => [name, []]))
  return {
    gauges: none(GAUGES),
    counters: none(COUNTERS),
    histograms: none(HISTOGRAMS),
  } as unknown as MetricsSnapshot
}

describe('docs/metrics.md', () => {
  test('lists every metric of a broker as the code has it, and no others', () => {
    const families = { gauge: GAUGES, counter: COUNTERS, histogram: HISTOGRAMS }
    const expected = Object.entries(families).flatMap(([type, shapes]) =>
      Object.entries(shapes).map(
        ([name, { help, labels }]) =>
          `| \`${PREFIX}${name}\` | ${type} | ${labels.join(', ')} | ${help} |`,
      ),
    )
    const [brokers = ''] = docs.split('## Placement Center')
    expect(brokers.split('\n').filter((line) => line.startsWith('| `'))).toEqual(expected)
  })
})

describe('createMetrics', () => {
  test('renders what was counted elsewhere, as it is at the moment', async () => {
    let connections = 1
    const latencies = new Latencies()
    latencies.record(0.3)
    latencies.record(9_000)
    const metrics = createMetrics('b1', () => {
      const { gauges, counters, histograms } = emptySnapshot()
      return {
        gauges: { ...gauges, connections: [[{ protocol: 'mqtt' }, connections]] },
        counters: { ...counters, clients_moved_total: [[{}, 7]] },
        histograms: {
          ...histograms,
          publish_duration_seconds: [[{ protocol: 'mqtt' }, latencies]],
        },
      }
    })
    const first = await metrics.render()
    connections = 2
    const second = await metrics.render()
    expect(first).toContain('robust_connections{protocol="mqtt",node="b1"} 1\n')
    expect(second).toContain('robust_connections{protocol="mqtt",node="b1"} 2\n')
    // Copied, not added up again.
    expect(second).toContain('robust_clients_moved_total{node="b1"} 7\n')
    const bucket = (le: string) =>
      new RegExp(`robust_publish_duration_seconds_bucket\\{[^}]*le="${le}"[^}]*\\} (\\d+)`).exec(
        second,
      )?.[1]
    expect([bucket('0.0002'), bucket('0.0004'), bucket('3.2768'), bucket('\\+Inf')]).toEqual([
      '0',
      '1',
      '1',
      '2',
    ])
    expect(second).toMatch(/robust_publish_duration_seconds_count\{[^}]*\} 2\n/)
    expect(second).toMatch(/robust_publish_duration_seconds_sum\{[^}]*\} 9\.0003\n/)
    expect(second).toContain('# TYPE robust_publish_duration_seconds histogram')
  })
})
