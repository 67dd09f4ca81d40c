import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { WORKLOADS } from '../workloads/all.ts'
import { breaksProcesses } from './faults.ts'
import { planSteps } from './plan.ts'
import { parseScenario, ScenarioError } from './scenario.ts'
import { seededRandom } from './seeded-random.ts'

const NODES = [
  { name: 'storage-1', role: 'storage' },
  ...[1, 2, 3].map((at) => ({ name: `placement-${at}`, role: 'placement' }) as const),
  ...[1, 2, 3].map((at) => ({ name: `broker-${at}`, role: 'broker' }) as const),
] as const

const HEAD = 'name: x\nworkloads: [kafka]\n'

function steps(text: string, seed = 1, count = 20) {
  const planned = planSteps(parseScenario(text), NODES, seededRandom(seed))
  return Array.from({ length: count }, () => planned.next().value)
}

const FOLDER = resolve(import.meta.dirname, '../../scenarios')

describe('a scenario', () => {
  test.each(readdirSync(FOLDER))('%s can be planned, with workloads that exist', (file) => {
    const text = readFileSync(join(FOLDER, file), 'utf8')
    const { workloads, about } = parseScenario(text)
    expect(about).not.toBe('')
    expect(workloads.filter((name) => !(name in WORKLOADS))).toEqual([])
    expect(steps(text)).toHaveLength(20)
  })

  test('is the same for the same seed, and another for another', () => {
    const text = `${HEAD}faults: [{ kill: broker }, { pause: placement, for: 2s }, { restart: broker }]`
    expect(steps(text, 3)).toEqual(steps(text, 3))
    expect(steps(text, 3)).not.toEqual(steps(text, 4))
  })

  test('says what each target is', () => {
    const targets = ['broker-2', 'leader', 'brokers', 'all', 'all-brokers-but-one', 'storage']
    const faults = targets.map((target) => `{ kill: ${target} }`).join(', ')
    const planned = steps(`${HEAD}order: in-turn\nfaults: [${faults}]`, 1, 6)
    const nodes = planned.map((step) => step.nodes)
    expect(nodes[0]).toEqual(['broker-2'])
    expect(nodes[1]).toEqual(['leader'])
    expect(nodes[2]).toEqual(['broker-1', 'broker-2', 'broker-3'])
    expect(nodes[3]).toEqual(NODES.map(({ name }) => name))
    expect(nodes[4]).toHaveLength(2)
    expect(nodes[5]).toEqual(['storage-1'])
  })

  test('cuts a node off from all others, or from those that are named', () => {
    const cuts =
      '{ cut: broker-1 }, { cut: broker-1, from: placement-2, one-way: true, for: 500ms }'
    const [all, one] = steps(`${HEAD}order: in-turn\nfaults: [${cuts}]`, 1, 2)
    expect(all?.others).toEqual(NODES.map(({ name }) => name).filter((name) => name !== 'broker-1'))
    expect(one?.others).toEqual(['placement-2'])
    expect(one?.fault).toMatchObject({ oneWay: true, forMs: 500 })
  })

  test('breaks disks and clocks, the same for the same seed', () => {
    const faults =
      '{ disk-full: storage, for: 2s }, { fsync-error: leader }, { power-loss: all }, { clock-jump: broker-1, by: -1h }'
    const text = `${HEAD}order: in-turn\nfaults: [${faults}]`
    const [full, fsync, power, clock] = steps(text, 1, 4)
    expect(full).toMatchObject({ fault: { kind: 'disk-full', forMs: 2_000 }, nodes: ['storage-1'] })
    expect(fsync).toMatchObject({ fault: { kind: 'fsync-error' }, nodes: ['leader'] })
    expect(power?.seed).toBe(steps(text, 1, 4)[2]?.seed)
    expect(power?.seed).not.toBe(steps(text, 2, 4)[2]?.seed)
    expect(clock?.fault).toMatchObject({ kind: 'clock-jump', aheadMs: -3_600_000 })
    const isOf = (kinds: string) =>
      parseScenario(`${HEAD}faults: [${kinds}]`).faults.some(breaksProcesses)
    expect(isOf('{ together: [{ kill: broker }, { clock-jump: broker, by: 1s }] }')).toBe(true)
    expect(isOf('{ together: [{ kill: broker }, { cut: broker }] }')).toBe(false)
  })

  test.each([
    ['', 'is no map'],
    ['name: [', 'at line 1'],
    ['workloads: [kafka]\nfaults: [{ kill: broker }]', 'name is missing'],
    [`${HEAD}faults: []`, 'faults is a list of one or more'],
    [`${HEAD}faults: [{ break: broker }]`, 'fault 1 is exactly one of'],
    [`${HEAD}faults: [{ kill: broker, pause: broker }]`, 'fault 1 is exactly one of'],
    [`${HEAD}faults: [{ kill: broker, fro: 2s }]`, 'fault 1 has no field fro'],
    [`${HEAD}faults: [{ kill: broker, for: 2 }]`, 'fault 1: for is a time'],
    [`${HEAD}faults: [{ add-member: broker }]`, 'only placement can have one more member'],
    [`${HEAD}faults: [{ clock-jump: broker }]`, 'by is a time'],
    [`${HEAD}faults: [{ clock-jump: broker, by: --1s }]`, 'by is a time'],
    [`${HEAD}faults: [{ slow: broker, loss: 200 }]`, 'loss is a number from 0 to 100'],
    [`${HEAD}faults: [{ kill: broker }]\nseed: 3`, 'has no field seed'],
    [`${HEAD}faults: [{ kill: broker-9 }]`, 'no node broker-9'],
  ])('%j is refused', (text, why) => {
    const plan = () => steps(text, 1, 1)
    expect(plan).toThrow(ScenarioError)
    expect(plan).toThrow(why)
  })
})
