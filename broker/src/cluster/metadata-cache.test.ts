import type { placement } from '@robust/proto'
import { describe, expect, test } from 'vitest'
import { MetadataCache } from './metadata-cache.ts'

const shard = (number: number, more: Partial<placement.Shard> = {}): placement.Shard => ({
  shard: number,
  epoch: 5,
  owner: 'b1',
  ownerEpoch: 3,
  opened: true,
  ...more,
})

const node = (nodeId: string, nodeEpoch: number): placement.Node => ({
  nodeId,
  nodeEpoch,
  incarnation: 'x',
  state: 1,
  grpcAddress: `${nodeId}:1`,
  endpoints: [],
  version: '',
})

const change = (more: Partial<placement.Change>): placement.Change => ({
  nodesChanged: [],
  nodesRemoved: [],
  shardsChanged: [],
  resourcesChanged: [],
  resourcesRemoved: [],
  ...more,
})

function loading(): MetadataCache {
  const cache = new MetadataCache('b1')
  const nodes = [node('b1', 3), node('b2', 4)]
  cache.replace(10, { clusterId: 'c', shardCount: 2, nodes, shards: [shard(0), shard(1)] })
  return cache
}

function loaded(): MetadataCache {
  const cache = loading()
  cache.page({ resources: [], last: true })
  return cache
}

describe('MetadataCache', () => {
  test('owner is unknown until the shard has been opened', () => {
    const cache = loaded()
    expect(cache.owner(0)).toEqual({ node: 'b1', epoch: 5 })
    cache.apply(11, change({ shardsChanged: [shard(0, { epoch: 11, opened: false })] }))
    expect(cache.owner(0)).toBeUndefined()
  })

  test('apply and replace ignore what is older', () => {
    const cache = loaded()
    cache.apply(10, change({ nodesRemoved: ['b2'] }))
    cache.replace(9, { clusterId: 'c', shardCount: 2, nodes: [], shards: [] })
    expect(cache.peers()).toEqual(['b2'])
  })

  test('what a load has not named yet is not known, and is waited for', async () => {
    const cache = new MetadataCache('b1')
    expect(cache.knows(0)).toBe(false)
    cache.replace(10, { clusterId: 'c', shardCount: 2, nodes: [], shards: [] })
    let isKnown = false
    void cache.reached(10).then(() => {
      isKnown = true
    })
    const resource = { kind: 'queue', tenant: 't', name: 'q', created: 4, version: 4, value: '{}' }
    cache.page({ resources: [resource], last: false })
    cache.apply(11, change({}))
    await Promise.resolve()
    expect([isKnown, cache.knows(10)]).toEqual([false, false])
    cache.page({ resources: [], last: true })
    await Promise.resolve()
    expect([isKnown, cache.knows(11), cache.knows(12)]).toEqual([true, true, false])
  })

  test('granted names the shards of this registration only', () => {
    const cache = loaded()
    cache.apply(11, change({ shardsChanged: [shard(1, { ownerEpoch: 2 })] }))
    expect(cache.granted(3).map((granted) => granted.shard)).toEqual([0])
  })

  test('reached waits until the index is known', async () => {
    const cache = loaded()
    await cache.reached(10)
    let reached = false
    const waiting = cache.reached(12).then(() => {
      reached = true
    })
    cache.apply(11, change({}))
    await Promise.resolve()
    expect(reached).toBe(false)
    cache.apply(12, change({}))
    await waiting
    expect(reached).toBe(true)
  })

  test('tells listeners of nodes and shards nothing about resources', () => {
    const cache = loaded()
    let told = 0
    cache.observe(() => told++)
    const topic = { kind: 'topic', tenant: '', name: 't', created: 11, version: 11, value: '{}' }
    cache.apply(11, change({ resourcesChanged: [topic] }))
    expect([told, cache.index, cache.resources.get('topic', '', 't')?.version]).toEqual([0, 11, 11])
    cache.apply(12, change({ nodesRemoved: ['b2'] }))
    expect(told).toBe(1)
  })

  test('resumes only when everything was loaded', () => {
    const cache = loading()
    expect(cache.resumeIndex).toBe(0)
    cache.page({ resources: [], last: true })
    expect(cache.resumeIndex).toBe(10)
  })

  test('serverOf names the endpoint of an active broker', () => {
    const cache = loaded()
    const endpoints = [{ protocol: 'mqtt', host: 'h', port: 7 }]
    cache.apply(11, change({ nodesChanged: [{ ...node('b2', 4), endpoints }] }))
    expect(cache.serverOf('b2', 'mqtt')).toBe('h:7')
    expect(cache.serverOf('b2', 'kafka')).toBeUndefined()
    cache.apply(12, change({ nodesChanged: [{ ...node('b2', 4), endpoints, state: 2 }] }))
    expect(cache.serverOf('b2', 'mqtt')).toBeUndefined()
  })

  test('isMember tells incarnations apart', () => {
    const cache = loaded()
    expect(cache.isMember('b2', 4)).toBe(true)
    expect(cache.isMember('b2', 5)).toBe(false)
    cache.apply(11, change({ nodesRemoved: ['b2'] }))
    expect(cache.isMember('b2', 4)).toBe(false)
  })
})
