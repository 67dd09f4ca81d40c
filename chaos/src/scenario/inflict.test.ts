import { describe, expect, test } from 'vitest'
import type { ClusterControl } from '../control.ts'
import { begin } from './inflict.ts'
import { planSteps } from './plan.ts'
import { parseScenario } from './scenario.ts'
import { seededRandom } from './seeded-random.ts'

const NODES = [
  { name: 'storage-1', role: 'storage' },
  { name: 'placement-1', role: 'placement' },
  { name: 'broker-1', role: 'broker' },
] as const

/** Notes what it is told; what is in `ended` does not run. */
function control(ended = new Set<string>()) {
  const told: string[] = []
  const tell = (what: string) => async () => void told.push(what)
  const processes: ClusterControl['processes'] = {
    breakDisk: (node, how) => tell(`disk ${node} ${how ?? 'well'}`)(),
    losePower: async (node, share) => {
      told.push(`power ${node} ${share().toFixed(6)}`)
      return 1
    },
    moveClock: (node, aheadMs) => tell(`clock ${node} ${aheadMs}`)(),
    hasEnded: async (node) => ended.has(node),
  }
  const cluster = {
    nodes: NODES,
    processes,
    leader: async () => 'placement-1',
    kill: (node: string) => tell(`kill ${node}`)(),
    addMember: async () => {
      told.push('add placement-2')
      return 'placement-2'
    },
    removeMember: (node: string) => tell(`remove ${node}`)(),
    start: async (nodes: readonly string[]) => {
      for (const node of nodes) ended.delete(node)
      told.push(`start ${nodes.join()}`)
    },
  }
  return { told, cluster: cluster as unknown as ClusterControl }
}

async function inflict(fault: string, { told, cluster }: ReturnType<typeof control>, seed = 1) {
  const { faults } = parseScenario(`name: x\nworkloads: [kafka]\nfaults: [${fault}]`)
  const step = planSteps({ faults, order: 'in-turn' }, NODES, seededRandom(seed)).next().value
  const said: string[] = []
  const undo = await begin(cluster, step, (text) => void said.push(text))
  const begun = told.splice(0)
  await undo()
  return { begun, undone: told.splice(0), said }
}

describe('a fault of a process', () => {
  test('disk-full ends with room, and whoever ended is started', async () => {
    const { begun, undone, said } = await inflict(
      '{ disk-full: storage }',
      control(new Set(['storage-1'])),
    )
    expect(begun).toEqual(['disk storage-1 full'])
    expect(undone).toEqual(['disk storage-1 well', 'start storage-1'])
    expect(said).toEqual(['disk-full storage-1', 'room again for storage-1'])
  })

  test('fsync-error of the leader hits who leads then; who went on is not started', async () => {
    const { begun, undone } = await inflict('{ fsync-error: leader }', control())
    expect(begun).toEqual(['disk placement-1 fsync'])
    expect(undone).toEqual(['disk placement-1 well'])
  })

  test('power-loss takes of each node its own share, as the seed says', async () => {
    const { begun, undone } = await inflict('{ power-loss: all }', control())
    expect(begun.map((text) => text.split(' ')[1])).toEqual(NODES.map(({ name }) => name))
    expect(new Set(begun.map((text) => text.split(' ')[2])).size).toBe(NODES.length)
    expect(undone).toEqual([`start ${NODES.map(({ name }) => name).join()}`])
    expect((await inflict('{ power-loss: all }', control())).begun).toEqual(begun)
    expect((await inflict('{ power-loss: all }', control(), 2)).begun).not.toEqual(begun)
  })

  test('clock-jump ends with the time of the machine', async () => {
    const { begun, undone, said } = await inflict('{ clock-jump: broker, by: -1h }', control())
    expect(begun).toEqual(['clock broker-1 -3600000'])
    expect(undone).toEqual(['clock broker-1 0'])
    expect(said[0]).toBe('clock of broker-1 jumps 3600000 ms back')
  })

  test('add-member ends with its removal, and what it comes with is undone first', async () => {
    const { begun, undone, said } = await inflict(
      '{ in-turn: [{ kill: leader }, { add-member: placement }] }',
      control(),
    )
    expect(begun).toEqual(['kill placement-1', 'add placement-2'])
    expect(undone).toEqual(['start placement-1', 'remove placement-2'])
    expect(said).toContain('removed placement-2')
  })

  test('is refused where processes have the disk of their machine', async () => {
    const { told, cluster } = control()
    const bare = { ...cluster, processes: undefined } as unknown as ClusterControl
    await expect(inflict('{ power-loss: broker }', { told, cluster: bare })).rejects.toThrow(
      'cannot be broken',
    )
  })
})
