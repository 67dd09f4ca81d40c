import { describe, expect, test } from 'vitest'
import type { Subscriber, Subscription } from './message.ts'
import { Router } from './router.ts'

const subscriber = (name: string): Subscriber => ({ name, deliver: () => undefined })
const subscription = (filter: string): Subscription => ({
  filter,
  guarantee: 1,
  noLocal: false,
  retainAsPublished: false,
  identifier: 0,
})

const nothing = { match: () => [], reaches: () => false }
const NO_KEEPERS = { topics: nothing, queues: nothing }

function ready(shardCount: number): Router {
  const router = new Router({ shardCount }, NO_KEEPERS)
  for (let shard = 0; shard < shardCount; shard++) {
    router.changeShardFilters(shard, 1, { reset: true, added: [], removed: [] })
  }
  return router
}

describe('Router', () => {
  test('route merges overlapping subscriptions of one subscriber into one target', () => {
    const router = ready(1)
    const one = subscriber('one')
    expect(router.subscribe(one, subscription('a/+'))).toBe(true)
    expect(router.subscribe(one, subscription('a/#'))).toBe(true)
    expect(router.subscribe(subscriber('two'), subscription('a/+'))).toBe(false)
    const { targets } = router.route('a/b')
    expect(targets.map(({ subscriber: { name }, grants }) => [name, grants.length])).toEqual([
      ['one', 2],
      ['two', 1],
    ])
  })

  test('route holds a shard that has not announced its filters', () => {
    const router = new Router({ shardCount: 2 }, NO_KEEPERS)
    expect(router.route('a').shards).toEqual([0, 1])
    router.changeShardFilters(0, 5, { reset: true, added: ['b'], removed: [] })
    expect(router.route('a').shards).toEqual([1])
    expect(router.route('b').shards).toEqual([0, 1])
  })

  test('changeShardFilters ignores an older owner and a change to a set it has not seen', () => {
    const router = ready(1)
    expect(router.changeShardFilters(0, 3, { reset: true, added: ['a'], removed: [] })).toBe(true)
    expect(router.changeShardFilters(0, 2, { reset: true, added: [], removed: [] })).toBe(false)
    expect(router.route('b').shards).toEqual([])
    expect(router.changeShardFilters(0, 4, { reset: false, added: [], removed: ['a'] })).toBe(false)
    // What the shard wants is not known any more, so it is asked about everything.
    expect(router.route('b').shards).toEqual([0])
  })

  test('unsubscribe of an old connection leaves the entry of its successor', () => {
    const router = ready(1)
    const before = subscriber('same')
    const after = subscriber('same')
    router.subscribe(before, subscription('a'))
    router.subscribe(after, subscription('a'))
    expect(router.unsubscribe(before, 'a')).toBe(false)
    expect(router.route('a').targets[0]?.subscriber).toBe(after)
    expect(router.unsubscribe(after, 'a')).toBe(true)
    expect(router.liveFilters()).toEqual([])
  })

  test('forgetPeer ends routes to a broker that is gone', () => {
    const router = ready(1)
    router.changePeerFilters('b2', { reset: true, added: ['x/#'], removed: [] })
    expect(router.route('x/1').peers).toEqual(['b2'])
    router.forgetPeer('b2')
    expect(router.route('x/1').peers).toEqual([])
  })
})

test('Router reaches a level of the system as soon as anybody may want it, and no longer', () => {
  const router = new Router({ shardCount: 1 }, NO_KEEPERS)
  const none = { reset: false, added: [], removed: [] }
  // What the shard wants is not known yet.
  expect(router.reaches('$SYS')).toBe(true)
  router.changeShardFilters(0, 1, { ...none, reset: true, added: ['#', '+/x'] })
  expect(router.reaches('$SYS')).toBe(false)
  router.changeShardFilters(0, 1, { ...none, added: ['$SYS/#'] })
  expect(router.reaches('$SYS')).toBe(true)
  router.changeShardFilters(0, 1, { ...none, removed: ['$SYS/#'] })
  router.changePeerFilters('b', { ...none, added: ['$SYS/brokers/+/clients/#'] })
  expect(router.reaches('$SYS')).toBe(true)
  router.forgetPeer('b')
  expect(router.reaches('$SYS')).toBe(false)
})
