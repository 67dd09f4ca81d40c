import { QUEUE_SETTINGS, queueValue, refusalOfQueue } from '@robust/proto'
import { describe, expect, test } from 'vitest'
import { DEFAULT_QUEUE_POLICY, type QueuePolicy } from '../core/queues/queue-policy.ts'
import { QueueTable } from '../core/queues/queue-table.ts'
import { shardOf } from '../core/shard-hash.ts'
import { configOf, followQueues, policyOf, storedValueOf } from './queue-directory.ts'
import { ResourceCache } from './resource-cache.ts'

/** Nothing as usual. */
const OTHER: QueuePolicy = {
  leaseMs: 1,
  delayMs: 2,
  retentionMs: 3,
  retentionFrom: 'sent',
  deadLetterExpired: false,
  lengthMax: 4,
  bytesMax: 5,
  overflow: 'drop-head',
  priorities: 6,
  priorityDefault: 2,
  order: 'group',
  singleConsumer: true,
  fair: true,
  deduplicationMs: 7,
  deduplicationBy: 'content',
  deduplicationScope: 'group',
  deliveriesMax: 8,
  deadLetterQueue: 'dead',
  retry: { minMs: 9, maxMs: 10, growth: 2 },
  inFlightMax: 11,
  dispatch: 'random',
}

function bench() {
  const resources = new ResourceCache()
  const queues = new QueueTable()
  followQueues(resources, queues)
  const put = (kind: string, name: string, version: number, value: object, tenant = 'default') =>
    resources.apply(
      [{ kind, tenant, name, created: version, version, value: JSON.stringify(value) }],
      [],
    )
  return { resources, queues, put }
}

describe('queues of the metadata', () => {
  test.each([
    ['as usual', DEFAULT_QUEUE_POLICY],
    ['other than usual', OTHER],
  ])('a policy that is %s comes back as it was', (_name, policy) => {
    const stored = storedValueOf({ policy, bindings: ['a/#'], dialects: { sqs: { x: 'y' } } })
    expect(refusalOfQueue('q', JSON.parse(stored))).toBeUndefined()
    const value = queueValue(stored)
    expect(value).toMatchObject({ bindings: ['a/#'], dialects: { sqs: { x: 'y' } } })
    expect(policyOf(value.config)).toEqual(policy)
  })

  test('what is as usual is not stored, and every setting is one of the policy', () => {
    const stored = storedValueOf({ policy: DEFAULT_QUEUE_POLICY, bindings: [], dialects: {} })
    expect(JSON.parse(stored).config).toEqual({})
    expect(Object.keys(configOf(OTHER))).toEqual(Object.keys(QUEUE_SETTINGS))
    for (const [name, value] of Object.entries(configOf(OTHER))) {
      expect(value, name).not.toBe(QUEUE_SETTINGS[name as keyof typeof QUEUE_SETTINGS].default)
    }
  })

  test('what cannot be read has the usual policy', () => {
    expect(policyOf(queueValue('{').config)).toEqual(DEFAULT_QUEUE_POLICY)
  })

  test('queues are found by name and by address, as they are now', () => {
    const { resources, queues, put } = bench()
    const told: [string, boolean][] = []
    queues.observe((key, isRoute) => told.push([key, isRoute]))
    put('queue', 'q', 5, { bindings: ['a/#', '+/b'], config: { 'lease-ms': 7 } })
    put('queue', 'q', 6, { config: { 'dead-letter-queue': 'd' } }, 't')
    expect(queues.get('default', 'q')).toMatchObject({ id: 5, policy: { leaseMs: 7 } })
    expect(queues.match('a/b', 64)).toEqual([
      { queue: 'q', shard: shardOf('queue', 'q', 64), knownAt: 5 },
    ])
    expect(queues.definitionOf('t\0q')?.policy.deadLetterQueue).toBe('t\0d')
    expect([...queues.list('t')].map(({ policy }) => policy.deadLetterQueue)).toEqual(['d'])
    put('queue', 'q', 8, { bindings: ['c'] })
    expect(queues.match('a/b', 64)).toEqual([])
    expect(queues.match('c', 64)).toHaveLength(1)
    resources.apply([], [{ kind: 'queue', tenant: 'default', name: 'q' }])
    expect(queues.match('c', 64)).toEqual([])
    expect(queues.get('default', 'q')).toBeUndefined()
    expect(told).toEqual([
      ['q', true],
      ['t\0q', false],
      ['q', true],
      ['q', true],
    ])
  })

  test('only what is said to be deleted is: not what is not known, nor what is there', () => {
    const { resources, queues, put } = bench()
    put('queue', 'q', 5, {})
    const shard = shardOf('queue', 'q', 64)
    expect([...queues.keysOf(shard, 64)]).toEqual(['q'])
    resources.apply([], [{ kind: 'queue', tenant: 'default', name: 'q' }])
    expect([...queues.deletedOf(shard, 64)]).toEqual([])
    put('queue', 'q', 9, {})
    put('deleted-queue', '5', 9, { name: 'q' })
    put('deleted-queue', '9', 9, { name: 'q' })
    expect([...queues.deletedOf(shard, 64)]).toEqual([5])
    expect([...queues.deletedOf(shard + 1, 64)]).toEqual([])
    resources.apply([], [{ kind: 'deleted-queue', tenant: 'default', name: '5' }])
    expect([...queues.deletedOf(shard, 64)]).toEqual([])
  })
})
