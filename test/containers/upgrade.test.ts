// Part of `npm run test:chaos`: nodes are replaced, join and find each other again while clients work.

import { type Report, runScenario } from '@robust/chaos'
import { afterEach, expect, test } from 'vitest'
import { NEXT_IMAGE } from '../support/docker-engine.ts'
import { ContainerCluster } from './container-cluster.ts'

const CALM = `
name: clients only
workloads: [mqtt-qos1, mqtt-qos2, kafka, sqs-fifo]
calm: 200ms
faults: [{ wait: 500ms }]
`

const clusters: ContainerCluster[] = []

afterEach(async () => {
  for (const cluster of clusters.splice(0).reverse()) await cluster.remove()
})

/** Clients work until `meanwhile` is done. */
async function under(
  cluster: ContainerCluster,
  meanwhile: (say: (text: string) => void) => Promise<void>,
): Promise<Report> {
  const stop = new AbortController()
  const say = (text: string): boolean => process.stdout.write(`[containers] ${text}\n`)
  let done: Promise<void> | undefined
  const report = await runScenario({
    ...{ control: cluster.control, text: CALM, seed: 1, clients: 3, storage: 'leveldb' },
    durationMs: 600_000,
    signal: stop.signal,
    say: () => {
      done ??= meanwhile(say).finally(() => stop.abort())
    },
  })
  await done
  return report
}

function findingsOf({ verdicts }: Report) {
  return Object.entries(verdicts).flatMap(([name, { findings }]) =>
    findings.map(({ kind, what }) => `${name}: ${kind} ${what}`),
  )
}

test('every node is replaced by the next build, one after the other', async () => {
  const cluster = await ContainerCluster.start()
  clusters.push(cluster)
  const report = await under(cluster, async (say) => {
    for (const { name } of cluster.control.nodes) {
      say(`replacing ${name}`)
      await cluster.upgrade(name, NEXT_IMAGE)
    }
  })
  expect(findingsOf(report)).toEqual([])
})

test('brokers live with a Placement Center of another project, also while it is away', async () => {
  const center = await ContainerCluster.start({ brokers: 0 })
  clusters.push(center)
  const placement = [1, 2, 3].map((at) => `placement-${at}:1228`).join(',')
  const cluster = await ContainerCluster.start({ external: { placement, network: center.network } })
  clusters.push(cluster)
  const report = await under(cluster, async (say) => {
    const names = center.control.nodes.map(({ name }) => name)
    say('the Placement Center is killed')
    await Promise.all(names.map((name) => center.control.kill(name)))
    await new Promise((done) => setTimeout(done, 5_000))
    await center.control.start(names)
    say('and is back')
  })
  expect(findingsOf(report)).toEqual([])
})

test('a broker joins with nothing in its cache while another leads the Placement Center', async () => {
  const cluster = await ContainerCluster.start()
  clusters.push(cluster)
  const report = await under(cluster, async (say) => {
    const leader = await cluster.leader()
    const joined = cluster.addBroker(4)
    if (leader === undefined) throw new Error('nobody leads')
    await cluster.control.kill(leader)
    say(`${leader}, which led, is killed while broker-4 joins`)
    await joined
    await cluster.control.start([leader])
    const [{ port }] = [cluster.mqtt(4)]
    say(`broker-4 takes clients at port ${port}`)
  })
  expect(findingsOf(report)).toEqual([])
  expect(await cluster.robust('config', 'get', 'security.anonymous')).toContain('always')
})
