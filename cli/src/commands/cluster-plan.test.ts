import { describe, expect, test } from 'vitest'
import type { ClusterState } from '../cluster/state.ts'
import { type AskedCluster, planCluster } from './cluster-plan.ts'

const place = { name: 'local', folder: '/srv/clusters/local' }

function planNew(asked: AskedCluster): ClusterState {
  return planCluster(asked, { ...place, known: undefined }).state
}

function names(state: ClusterState): string {
  return state.nodes.map(({ name }) => name).join(' ')
}

describe('planCluster', () => {
  test('a new cluster has three brokers, three Placement Center nodes and storage', () => {
    const state = planNew({})
    expect(names(state)).toBe(
      'storage-1 placement-1 placement-2 placement-3 broker-1 broker-2 broker-3',
    )
    expect(state.storageUrl).toBe('leveldb:/srv/clusters/local/data/storage-1')
    expect(state.nodes.every(({ pid }) => pid === null)).toBe(true)
  })

  test('a new cluster of one broker has one Placement Center node', () => {
    expect(names(planNew({ nodes: 1 }))).toBe('storage-1 placement-1 broker-1')
  })

  test('paths become absolute, and the data folder of storage is the one of its URL', () => {
    const state = planNew({ storage: 'leveldb:here', data: 'there' })
    expect(state.storageUrl).toMatch(/^leveldb:\/.*\/here$/)
    expect(state.dataDir).toMatch(/^\/.*\/there$/)
    expect(state.nodes[0]?.dataDir).toMatch(/\/here$/)
  })

  test('a cluster that is down takes another storage, and says that no data moves by itself', () => {
    const known = planNew({})
    const { state, notes } = planCluster({ storage: 'redis://a:1' }, { ...place, known })
    expect(state.storageUrl).toBe('redis://a:1')
    expect(state.nodes.some(({ role }) => role === 'storage')).toBe(false)
    expect(state.clusterId).toBe(known.clusterId)
    expect(notes.join()).toContain('export and import')
  })

  test('strict is told to brokers in the URL of a shared storage, to our storage node by a flag', () => {
    const redis = planNew({ storage: 'redis://a:1', durability: 'strict' })
    expect(redis.storageUrl).toBe('redis://a:1?durability=strict')
    expect(redis.nodes.some(({ role }) => role === 'storage')).toBe(false)
    const [node] = planNew({ durability: 'strict' }).nodes
    expect(node?.args.join(' ')).toContain('--durability strict')
  })

  test.each([{ storage: 'http://x' }, { placement: 'x' }, { placement: '0' }, { set: ['x'] }])(
    'a new cluster is refused with %j',
    (asked) => {
      expect(() => planNew(asked)).toThrow('--')
    },
  )

  test('asked for more, an existing cluster keeps its processes and gets the others', () => {
    const before = planNew({})
    const running = {
      ...before,
      nodes: before.nodes.map((node, at) => ({ ...node, pid: at + 1, startTime: 'then' })),
    }
    const { state, notes } = planCluster({ nodes: 5 }, { ...place, known: running })
    expect(names(state)).toBe(`${names(before)} broker-4 broker-5`)
    expect(state.nodes.slice(0, 7)).toEqual(running.nodes)
    expect(state.nodes[7]?.pid).toBeNull()
    expect(state.clusterId).toBe(before.clusterId)
    expect(notes).toEqual([])
  })

  test('asked for fewer, an existing cluster stays as it is and says so', () => {
    const known = planNew({})
    const { state, notes } = planCluster({ nodes: 1 }, { ...place, known })
    expect(state.nodes).toEqual(known.nodes)
    expect(notes).toEqual(['local has 3 brokers; up adds nodes and removes none'])
  })

  test('new settings reach running nodes when they restart, which is said', () => {
    const before = planNew({ nodes: 1 })
    const nodes = before.nodes.map((node) => ({ ...node, pid: 1, startTime: 'then' }))
    const known = { ...before, nodes }
    const asked = { set: ['broker.log-level=debug'] }
    const { state, notes } = planCluster(asked, { ...place, known })
    expect(state.nodes.at(-1)?.args.slice(-2)).toEqual(['--log-level', 'debug'])
    expect(notes).toEqual([expect.stringContaining('robust cluster restart broker-1')])
  })

  test.each([
    { storage: 'memory:' },
    { data: '/other' },
    { portOffset: 1 },
    { shards: 8 },
    { preset: 'production' },
    { placement: '5' },
  ])('what is fixed when a cluster is made cannot be changed: %j', (asked) => {
    const stopped = planNew({})
    const nodes = stopped.nodes.map((node) => ({ ...node, pid: 1, startTime: 'then' }))
    const known = { ...stopped, nodes }
    expect(() => planCluster(asked, { ...place, known })).toThrow('cluster local exists with')
  })

  test('asked for what it is, an existing cluster is not refused', () => {
    const asked = { storage: 'memory:', portOffset: 5, shards: 8, placement: '1', preset: 'dev' }
    const known = planNew(asked)
    expect(planCluster(asked, { ...place, known }).state).toEqual(known)
  })
})
