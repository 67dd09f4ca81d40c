// Disks and clocks broken under the processes of a cluster by the command that users have: promises are kept.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Report } from '@robust/chaos'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { buildFaultyDisk } from '../support/faulty-disk.ts'

const FAULTS = [
  '{ disk-full: storage, for: 1s }',
  '{ fsync-error: leader, for: 1s }',
  '{ power-loss: broker, for: 1s }',
  '{ clock-jump: all, by: -1h, for: 1s }',
]
const SCENARIO = `name: broken
workloads: [mqtt-qos1, metadata]
order: in-turn
calm: 100ms
faults: [${FAULTS.join(', ')}]
`
const isPossible = buildFaultyDisk() !== undefined
let cluster: TestCluster

beforeAll(async () => {
  cluster = await startCluster('--nodes', '2', '--breakable')
})

afterAll(() => cluster?.purge())

test.skipIf(!isPossible)(
  'disks and clocks of processes are broken, and nothing is lost',
  async () => {
    const [scenario, file] = ['scenario.yaml', 'report.json'].map((name) =>
      join(cluster.home, name),
    )
    writeFileSync(scenario as string, SCENARIO)
    const flags = ['--seed', '1', '--duration', '20s', '--clients', '2', '--report', file as string]
    const ran = await cluster.robust('chaos', 'run', scenario as string, ...flags)
    expect(ran.stdout + ran.stderr).toContain('every promise')
    expect(ran.code).toBe(0)
    const { events, verdicts, recoveries } = JSON.parse(
      readFileSync(file as string, 'utf8'),
    ) as Report
    const told = events.map(({ text }) => text).join('\n')
    for (const what of ['disk-full storage-1', 'fsync-error placement-', 'power-loss broker-']) {
      expect(told).toContain(what)
    }
    expect(told).toMatch(/clock of storage-1, .* jumps 3600000 ms back/)
    expect(recoveries.map(({ fault }) => fault)).toContain('clock-jump all back')
    expect(verdicts['metadata']?.acknowledged).toBeGreaterThan(100)
  },
)
