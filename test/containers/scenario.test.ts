// The short form, part of `npm test`: containers on a private network, each fault once, under load in three dialects.

import { isGood, runScenario } from '@robust/chaos'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { dockerObstacle } from '../support/docker-engine.ts'
import { ContainerCluster } from './container-cluster.ts'

const EACH_ONCE = `
name: containers, each fault once
workloads: [mqtt-qos1, mqtt-qos2, kafka, sqs-fifo]
order: in-turn
calm: 1s
faults:
  - { kill: broker-1, for: 1s }
  - { cut: broker-2, for: 5s }
  - { cut: broker-3, one-way: true, for: 5s }
  - { pause: broker-1, for: 5s }
  - { kill: leader, for: 1s }
  - { kill: storage-1 }
`
const FAULTS = 6

const isPossible = dockerObstacle() === undefined
let cluster: ContainerCluster | undefined

beforeAll(async () => {
  if (isPossible) cluster = await ContainerCluster.start()
})

afterAll(() => cluster?.remove())

test.skipIf(!isPossible)(
  'containers are killed, paused and cut off: every promise is kept',
  async () => {
    if (cluster === undefined) throw new Error('no cluster was started')
    const { control } = cluster
    const stop = new AbortController()
    const lines: string[] = []
    const report = await runScenario({
      ...{ control, text: EACH_ONCE, seed: 1, clients: 3, storage: 'leveldb' },
      durationMs: 200_000,
      signal: stop.signal,
      say: ({ atMs, text }) => {
        lines.push(`${(atMs / 1000).toFixed(1)} s  ${text}`)
        // Each once, then no more.
        if (lines.filter((line) => line.includes('served')).length === FAULTS) stop.abort()
      },
    })
    process.stdout.write(`[containers] ${lines.join('\n[containers] ')}\n`)
    expect(report.faults).toBe(FAULTS)
    expect(report.verdicts).toEqual(
      Object.fromEntries(
        Object.entries(report.verdicts).map(([name, verdict]) => [
          name,
          { ...verdict, findings: [] },
        ]),
      ),
    )
    expect(isGood(report)).toBe(true)
    expect(lines.join('\n')).toContain('the cluster is whole again')
  },
)
