import { expect, test } from 'vitest'
import type { ClusterControl } from './control.ts'
import { isGood } from './report.ts'
import { runScenario } from './run.ts'
import type { Workload } from './workloads/workload.ts'

const SCENARIO = `
name: x
workloads: [served]
calm: 1ms
order: in-turn
faults:
  - { kill: broker-1, for: 1ms }
  - { pause: broker-1, for: 1ms }
  - in-turn: [{ drain: broker-2, for: 1ms }, { kill: broker-1, for: 1ms }]
`

/** A client that is served all the time. */
function served(): Workload {
  return {
    clients: ['one'],
    get sends() {
      const nowMs = performance.now()
      return [{ client: 'one', startedMs: nowMs, endedMs: nowMs, outcome: 'ok' }] as const
    },
    finish: () => Promise.reject(new Error('nobody answers')),
    remove: () => Promise.resolve(),
  }
}

/** What has no process any more cannot be killed. */
function control() {
  const told: string[] = []
  const tell = (what: string) => async (node: string) => void told.push(`${what} ${node}`)
  const cluster: Partial<ClusterControl> = {
    nodes: ['broker-1', 'broker-2'].map((name) => ({ name, role: 'broker' })),
    endpoints: { mqtt: [], kafka: [], sqs: [] },
    kill: (node) => Promise.reject(new Error(`${node} does not run`)),
    pause: tell('pause'),
    resume: tell('resume'),
    drain: tell('drain'),
    undrain: tell('undrain'),
    trouble: async () => undefined,
  }
  return { told, cluster: cluster as ClusterControl }
}

test('a fault that cannot be inflicted is told by the report, and the run goes on', async () => {
  const { told, cluster } = control()
  const said: string[] = []
  const report = await runScenario({
    ...{ control: cluster, text: SCENARIO, seed: 1, durationMs: 100, storage: 'memory:' },
    known: { served: async () => async () => served() },
    say: ({ text }) => void said.push(text),
  })
  const missed = report.notInflicted.map(({ text }) => text)
  expect(new Set(missed)).toEqual(
    new Set([
      'kill broker was not inflicted: broker-1 does not run',
      'drain broker then kill broker was not inflicted: broker-1 does not run',
    ]),
  )
  expect(told.slice(0, 4)).toEqual([
    ...['pause broker-1', 'resume broker-1'],
    // What had begun of the third is undone.
    ...['drain broker-2', 'undrain broker-2'],
  ])
  expect(said).toContain('the cluster is whole again')
  expect(report.verdicts['served']?.findings).toEqual([
    { kind: 'stuck', what: 'not judged: nobody answers' },
  ])
  expect(isGood(report)).toBe(false)
})
