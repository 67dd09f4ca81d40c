import { describe, expect, it } from 'vitest'
import { RESOURCE_KINDS, type ResourceKind } from '../metadata/resources.ts'
import { refusalOfValue } from './values.ts'

const good: Readonly<Record<ResourceKind, [string, unknown]>> = {
  topic: ['telemetry', { partitions: 3, capture: ['sensors/#'] }],
  queue: [
    'orders',
    { bindings: ['a/#'], config: { 'length-max': 5 }, dialects: { d: { x: 'y' } } },
  ],
  exchange: ['ex', { type: 'direct' }],
  binding: ['b', { source: 'ex', destination: 'orders', routingKey: 'k' }],
  user: ['ann', { tags: ['admin'], credentials: { scram: 'x' } }],
  permission: ['p', { user: 'ann', action: 'publish', pattern: '#', allow: true }],
  setting: ['rebalance.reports', 3],
  'deleted-topic': ['17', { name: 'telemetry' }],
  'deleted-queue': ['18', { name: 'orders' }],
  'access-key': ['AK1', { user: 'ann', secret: 's', account: '123456789012' }],
  'client-quota': ['q', { user: 'ann', client: '', producerByteRate: 1.5 }],
  'group-config': ['g', { 'share.auto.offset.reset': 'earliest' }],
  'auto-subscription': ['a', { topic: 'inbox/%c', qos: 1, retainHandling: 2 }],
  'topic-rewrite': ['r', { action: 'all', filter: 'a/+', target: 'b/$1' }],
  bridge: [
    'b',
    { url: 'mqtts://h:8883', protocol: 5, in: [{ filter: 'a/#', qos: 1, prefix: 'x/' }], out: [] },
  ],
  ban: ['b', { kind: 'client', who: 'c1', until: 1_800_000_000_000, reason: 'loud' }],
}

describe('refusalOfValue', () => {
  it.each(RESOURCE_KINDS)('takes a good %s', (kind) => {
    const [name, value] = good[kind]
    expect(refusalOfValue(kind, name, value)).toBeUndefined()
  })

  it.each([
    ['topic', { partitons: 3 }, 'no field partitons; it has partitions'],
    ['topic', { partitions: 0 }, 'partitions of a topic is a whole number from 1'],
    ['topic', [], 'is an object'],
    ['topic', { capture: [1] }, 'a list of texts'],
    ['queue', { durable: true }, 'no field durable; it has bindings'],
    ['queue', { bindings: ['a/#/b'] }, 'is no filter'],
    ['queue', { config: { 'lease-ms': null } }, 'lease-ms is a whole number'],
    ['queue', { config: { leaseMs: 1 } }, 'no setting leaseMs'],
    ['queue', { config: { order: 'some' } }, 'order is one of none, group'],
    ['queue', { config: { 'dead-letter-queue': 'a\nb' } }, 'is the name of a queue'],
    ['queue', { dialects: { sqs: { x: 1 } } }, 'texts by dialect'],
    ['exchange', {}, 'needs the field type'],
    ['bridge', { url: 'mqtt://user:secret@h' }, 'url of a bridge is mqtt://HOST'],
    ['bridge', { url: 'http://h' }, 'url of a bridge is mqtt://HOST'],
    ['bridge', { url: 'mqtt://h', in: [{ filter: 'a', qos: 3, prefix: '' }] }, 'in of a bridge'],
    ['bridge', { url: 'mqtt://h', out: [{ filter: 'a', qos: 1, prefix: '#' }] }, 'out of a bridge'],
    ['auto-subscription', { topic: 'a', qos: 3 }, 'is one of 0, 1, 2'],
    ['topic-rewrite', { action: 'x', filter: 'a', target: 'b' }, 'is one of publish'],
    ['permission', { user: 'u', action: 'x', pattern: '#' }, 'is one of publish'],
    ['permission', { user: 'u', action: 'all', pattern: 'g', on: 'x' }, 'is one of address'],
    ['client-quota', { producerByteRate: 0 }, 'is a number above 0'],
    ['ban', { kind: 'client' }, 'needs the field who'],
    ['user', { toString: 1 }, 'no field toString'],
    ['setting', 0, 'whole number'],
  ] as [ResourceKind, unknown, string][])('%s %j is refused', (kind, value, said) => {
    expect(refusalOfValue(kind, good[kind][0], value)).toContain(said)
  })
})
