/**
 * Seeded random runs of whole clusters. To repeat one: npm run simulate -- --seed SEED --mode MODE.
 * For more of them: npm run simulate -- --seeds 100000.
 */
import { describe, expect, it } from 'vitest'
import { type SimulationMode, type SimulationReport, simulate } from './simulate.ts'

/** In each mode. A number of seeds and not a time, so that a slow machine looks as closely as a fast one. */
const SEEDS = 500

function runAll(mode: SimulationMode): readonly SimulationReport[] {
  return Array.from({ length: SEEDS }, (_, at) => simulate(at + 1, mode))
}

function total(reports: readonly SimulationReport[], count: (one: SimulationReport) => number) {
  return reports.reduce((sum, report) => sum + count(report), 0)
}

describe('a cluster under faults', () => {
  it('keeps every promise after every step, and agrees once all is repaired', () => {
    const reports = runAll('safety')
    // The runs did something: a simulation that only idles finds nothing.
    const sum = (count: (one: SimulationReport) => number): number => total(reports, count)
    expect(sum(({ commits }) => commits)).toBeGreaterThan(SEEDS * 20)
    expect(sum(({ termsLed }) => termsLed)).toBeGreaterThan(SEEDS * 1.5)
    expect(sum(({ world }) => world.crashes)).toBeGreaterThan(SEEDS)
    expect(sum(({ world }) => world.pauses)).toBeGreaterThan(SEEDS / 2)
    expect(sum(({ world }) => world.syncErrors)).toBeGreaterThan(SEEDS / 20)
    expect(sum(({ world }) => world.damagedStarts)).toBeGreaterThan(SEEDS / 10)
    expect(sum(({ world }) => world.confirmedReads)).toBeGreaterThan(SEEDS * 5)
    expect(sum(({ world }) => world.installedSnapshots)).toBeGreaterThan(SEEDS / 4)
    expect(sum(({ world }) => world.stateVerdicts)).toBeGreaterThan(SEEDS)
    expect(sum(({ work }) => work.replaced)).toBeGreaterThan(5)
    for (const kind of ['add-learner', 'promote', 'remove', 'transfer'] as const) {
      expect(sum(({ work }) => work[kind])).toBeGreaterThan(SEEDS / 20)
    }
  }, 300_000)

  it('makes progress while a majority is healthy, whatever the others do', () => {
    const reports = runAll('liveness')
    expect(total(reports, ({ world }) => world.crashes)).toBeGreaterThan(SEEDS)
  }, 300_000)

  it.each(['safety', 'liveness'] as const)('gives the same run for the same seed: %s', (mode) => {
    for (const seed of [7, 8, 9]) expect(simulate(seed, mode)).toEqual(simulate(seed, mode))
  })
})
