import { control, placement } from '@robust/proto'
import { describe, expect, test } from 'vitest'
import { planCluster } from '../commands/cluster-plan.ts'
import type { ProcessState } from './process-table.ts'
import { type Answers, viewCluster } from './view.ts'

const SHARDS = 4
const { state } = planCluster(
  { nodes: 2, shards: SHARDS },
  { name: 'local', folder: '/c', known: undefined },
)
const brokers = ['broker-1', 'broker-2']
const center = ['127.0.0.1:1228', '127.0.0.1:1328', '127.0.0.1:1428']

function metadata(nodes: readonly string[], changes: Partial<placement.Shard> = {}) {
  return placement.Metadata.fromPartial({
    shardCount: SHARDS,
    nodes: nodes.map((nodeId, at) => ({ nodeId, nodeEpoch: at + 4, state: 1 as const })),
    shards: Array.from({ length: SHARDS }, (_, shard) => ({
      shard,
      owner: brokers[shard % 2]!,
      opened: true,
      ...changes,
    })),
  })
}

function status(at: number, changes: Partial<placement.StatusReply> = {}): placement.StatusReply {
  return {
    ...placement.StatusReply.fromPartial({
      nodeId: `placement-${at + 1}`,
      role: at === 0 ? 'leader' : 'follower',
      term: 3,
      hasQuorum: true,
      members: [{}, {}, {}],
      reports: at === 0 ? [{ nodeId: 'broker-1', report: { connections: 7 } }] : [],
    }),
    metadata: metadata(brokers),
    ...changes,
  }
}

function inspected(changes: Partial<control.InspectReply> = {}): control.InspectReply {
  return {
    ...control.InspectReply.fromPartial({ storageAvailable: true, leaseValid: true }),
    storagePromise: 'kept',
    ...changes,
  }
}

function answers(changes: Partial<Answers> = {}): Answers {
  return {
    state,
    processes: new Map(state.nodes.map(({ name }) => [name, 'running' as ProcessState])),
    placement: new Map(center.map((address, at) => [address, status(at)])),
    brokers: new Map(brokers.map((name) => [name, inspected()])),
    serving: new Set(['127.0.0.1:1778']),
    storage: ['127.0.0.1:1778'],
    ...changes,
  }
}

function withProcess(name: string, process: ProcessState) {
  return new Map(answers().processes).set(name, process)
}

describe('viewCluster', () => {
  test('a cluster where all answer is healthy', () => {
    const view = viewCluster(answers())
    expect(view).toMatchObject({
      health: 'healthy',
      reasons: [],
      placement: { leader: 'placement-1', term: 3, quorum: true, answering: 3, members: 3 },
      storage: { serving: true, promise: 'kept' },
      shards: { total: 4, open: 4, moving: 0, dataLoss: 0 },
    })
    expect(view.nodes.find(({ name }) => name === 'broker-1')).toMatchObject({
      state: 'running',
      epoch: 4,
      shards: { owned: 2, open: 2 },
      load: { connections: 7 },
    })
    expect(view.nodes.find(({ name }) => name === 'placement-2')?.placementRole).toBe('follower')
  })

  test('a stopped broker whose shards have moved makes it degraded', () => {
    const placed = new Map(
      center.map((address, at) => [
        address,
        status(at, { metadata: metadata(['broker-1'], { owner: 'broker-1' }) }),
      ]),
    )
    const view = viewCluster(
      answers({
        processes: withProcess('broker-2', 'stopped'),
        placement: placed,
        brokers: new Map([['broker-1', inspected()]]),
      }),
    )
    expect(view).toMatchObject({ health: 'degraded', reasons: ['broker-2 is stopped'] })
  })

  test.each([
    [74, []],
    [75, ['broker-1 slows publishers: storage is 75% full']],
    [100, ['broker-1 finds storage full and refuses what it would keep']],
  ])('storage that is %i%% full is told', (storagePressurePercent, reasons) => {
    const short = new Map([
      ['broker-1', inspected({ counters: { storagePressurePercent } })],
      ['broker-2', inspected()],
    ])
    const health = reasons.length === 0 ? 'healthy' : 'degraded'
    expect(viewCluster(answers({ brokers: short }))).toMatchObject({ health, reasons })
  })

  test('a broker that refuses new connections makes it degraded', () => {
    const busy = new Map([
      ['broker-1', inspected({ throttled: true })],
      ['broker-2', inspected()],
    ])
    expect(viewCluster(answers({ brokers: busy }))).toMatchObject({
      health: 'degraded',
      reasons: ['broker-1 is overloaded and refuses new connections'],
    })
  })

  test('a broker that has just died makes its shards closed before the metadata says so', () => {
    const view = viewCluster(answers({ processes: withProcess('broker-2', 'stopped') }))
    expect(view.health).toBe('critical')
    expect(view.reasons).toContain('2 of 4 shards have no open owner')
  })

  test('two of three Placement Center nodes are a quorum, one is none whatever it says', () => {
    const two = answers({
      processes: withProcess('placement-3', 'stopped'),
      placement: new Map(center.slice(0, 2).map((address, at) => [address, status(at)])),
    })
    expect(viewCluster(two)).toMatchObject({ health: 'degraded', placement: { quorum: true } })
    const one = answers({ placement: new Map([[center[0]!, status(0)]]) })
    expect(viewCluster(one).health).toBe('critical')
    expect(viewCluster(one).reasons[0]).toContain('no quorum (1 of 3 answer)')
  })

  test('followers alone are between two leaders', () => {
    const followers = new Map(center.slice(1).map((address, at) => [address, status(at + 1)]))
    const view = viewCluster(
      answers({ processes: withProcess('placement-1', 'paused'), placement: followers }),
    )
    expect(view.placement).toMatchObject({ leader: null, quorum: true })
    expect(view.reasons).toEqual([
      'placement-1 is paused',
      'the Placement Center is electing a leader',
    ])
  })

  test('without the Placement Center the brokers tell which shards they serve', () => {
    const open = (shard: number, state = 'open') => ({ shard, epoch: 1, state, commitNumber: 0 })
    const replies = new Map([
      ['broker-1', inspected({ shards: [open(0), open(2)] })],
      ['broker-2', inspected({ shards: [open(1), open(3, 'opening')] })],
    ])
    const view = viewCluster(answers({ placement: new Map(), brokers: replies }))
    expect(view.shards).toEqual({ total: 4, open: 3, moving: 0, dataLoss: 0 })
    expect(view.health).toBe('critical')
  })

  test('storage that does not answer is critical', () => {
    const view = viewCluster(answers({ serving: new Set() }))
    expect(view.reasons).toEqual(['storage does not answer', 'storage-1 is unreachable'])
    expect(view.health).toBe('critical')
  })

  test('a shard with DATA LOSS is critical', () => {
    const lost = { shard: 0, epoch: 1, state: 'data-loss', commitNumber: 0 }
    const replies = new Map(answers().brokers).set('broker-1', inspected({ shards: [lost] }))
    expect(viewCluster(answers({ brokers: replies })).reasons).toEqual([
      '1 shards report DATA LOSS',
    ])
  })

  test.each([
    ['unreachable', 'a running broker that does not answer', { brokers: new Map() }],
    [
      'joining',
      'a broker that is not registered',
      {
        placement: new Map(
          center.map((address, at) => [address, status(at, { metadata: metadata([]) })]),
        ),
      },
    ],
  ])('%s is %s', (expected, _what, changes) => {
    const view = viewCluster(answers(changes))
    expect(view.nodes.find(({ name }) => name === 'broker-1')?.state).toBe(expected)
  })

  test('a broker that joined by hand is shown, and its state counts', () => {
    const joined = metadata(['broker-1', 'broker-2', 'broker-by-hand'])
    const placed = new Map(center.map((address, at) => [address, status(at, { metadata: joined })]))
    const replies = new Map(answers().brokers).set('broker-by-hand', inspected())
    const view = viewCluster(answers({ placement: placed, brokers: replies }))
    expect(view.health).toBe('healthy')
    expect(view.nodes.at(-1)).toMatchObject({
      name: 'broker-by-hand',
      managed: false,
      state: 'running',
      epoch: 6,
    })
    expect(viewCluster(answers({ placement: placed })).reasons).toEqual([
      'broker-by-hand is unreachable',
    ])
  })
})
