// Medians over the rounds and their ratios, as a table or as JSON. A ratio is ours divided by the
// peer's, so for a figure where lower is better a ratio below 1 is the good side.

import type { BrokerName } from './brokers.ts'
import type { LoadResult, Metric, Scenario } from './scenarios.ts'

export interface Measurement {
  scenario: Scenario
  broker: BrokerName
  round: number
  result: LoadResult
}

export interface Figure {
  scenario: string
  label: string
  unit: string
  better: 'higher' | 'lower'
  median: Partial<Record<BrokerName, number>>
  rounds: Partial<Record<BrokerName, number[]>>
  /** The load program was the bottleneck of these: they can do more than this. */
  loadBound: BrokerName[]
  /** Ours divided by the peer's. */
  ratio: Partial<Record<BrokerName, number>>
}

export function summarize(measurements: Measurement[]): Figure[] {
  const scenarios = new Set(measurements.map(({ scenario }) => scenario))
  return [...scenarios].flatMap((scenario) =>
    scenario.metrics.map((metric) =>
      figureOf(
        scenario,
        metric,
        measurements.filter((one) => one.scenario === scenario),
      ),
    ),
  )
}

function figureOf(scenario: Scenario, metric: Metric, measurements: Measurement[]): Figure {
  const rounds: Partial<Record<BrokerName, number[]>> = {}
  const loadBound = new Set<BrokerName>()
  for (const { broker, result } of measurements) {
    const value = metric.value(result)
    if (value === undefined) continue
    rounds[broker] = [...(rounds[broker] ?? []), value]
    const isFlow = scenario.mode === 'throughput' || scenario.mode === 'connect'
    if (isFlow && isLoadBound(result)) loadBound.add(broker)
  }
  const medians: Partial<Record<BrokerName, number>> = {}
  const ratio: Partial<Record<BrokerName, number>> = {}
  for (const [broker, values] of entriesOf(rounds)) medians[broker] = median(values)
  for (const [broker, value] of entriesOf(medians)) {
    if (broker !== 'ours' && medians.ours !== undefined) ratio[broker] = medians.ours / value
  }
  const { label, unit, better } = metric
  return {
    scenario: scenario.name,
    label,
    unit,
    better,
    median: medians,
    rounds,
    loadBound: [...loadBound],
    ratio,
  }
}

function isLoadBound({ brokerCpu = 1, loadCpu = 0 }: LoadResult): boolean {
  return loadCpu > 0.9 && brokerCpu < 0.9
}

function entriesOf<Value>(
  record: Partial<Record<BrokerName, Value>>,
): [name: BrokerName, value: Value][] {
  return Object.entries(record) as [BrokerName, Value][]
}

export function median(values: number[]): number {
  const sorted = [...values].sort((left, right) => left - right)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}

export function formatTable(figures: Figure[], brokers: BrokerName[]): string {
  const peers = brokers.filter((name) => name !== 'ours')
  const ratios = brokers.includes('ours') ? peers : []
  const head = [
    'figure (median)',
    'unit',
    'better',
    ...brokers,
    ...ratios.map((name) => `ours/${name}`),
  ]
  const rows = figures.map((figure) => [
    figure.label,
    figure.unit,
    figure.better,
    ...brokers.map((name) => formatMedian(figure, name)),
    ...ratios.map((name) => formatRatio(figure.ratio[name])),
  ])
  const table = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)))
  const lines = table.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return column < 3 ? cell.padEnd(width) : cell.padStart(width)
      })
      .join('  ')
      .trimEnd(),
  )
  const isBound = figures.some(({ loadBound }) => loadBound.length > 0)
  return [
    ...lines,
    ...(isBound ? ['* the load program was the bottleneck: at least this'] : []),
  ].join('\n')
}

function formatMedian(figure: Figure, broker: BrokerName): string {
  const value = figure.median[broker]
  if (value === undefined) return '-'
  const text = value >= 1000 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3)
  return figure.loadBound.includes(broker) ? `${text}*` : text
}

function formatRatio(value: number | undefined): string {
  return value === undefined ? '-' : `${value.toPrecision(3)}x`
}
