import { broker } from '@robust/proto'
import { describe, expect, test } from 'vitest'
import type { Message } from '../core/message.ts'
import type { Place } from '../core/ports/peers.ts'
import type { ShardReply, ShardRequest } from '../core/shard-requests.ts'
import {
  fromWireDelivery,
  fromWirePublish,
  fromWireReply,
  fromWireRequest,
  toWireDelivery,
  toWirePublish,
  toWireReply,
  toWireRequest,
} from './wire.ts'

const message: Message = {
  address: 'a/b',
  guarantee: 2,
  retain: true,
  payload: Uint8Array.of(1, 2),
  dialect: 'mqtt',
  properties: Uint8Array.of(3),
  timestampMs: 1_700_000_000_000,
  expiresAtMs: 1_700_000_060_000,
  publisher: 'p',
  token: 't',
}
const attachment = { epoch: 2 ** 40, counter: 7 }
const to = { session: 's', attachment }
const subscription = {
  filter: 'a/#',
  guarantee: 1 as const,
  noLocal: true,
  retainAsPublished: true,
  identifier: 9,
}
const where = { session: 's', node: 'b1', nodeEpoch: 5, expirySeconds: 0xffff_ffff, window: 10 }

const requests: ShardRequest[] = [
  {
    kind: 'attach',
    attach: {
      ...where,
      cleanStart: true,
      user: 'u',
      ownerOnly: true,
      will: { message, delaySeconds: 3 },
    },
  },
  { kind: 'attach', attach: { ...where, cleanStart: false, will: undefined } },
  { kind: 'reattach', reattach: { ...where, attachment, user: 'u', will: undefined } },
  { kind: 'detach', detach: { to, publishWill: true, expirySeconds: undefined } },
  { kind: 'detach', detach: { to, publishWill: false, expirySeconds: 0 } },
  { kind: 'subscribe', to, subscriptions: [subscription] },
  { kind: 'unsubscribe', to, filters: ['a', 'b'] },
  { kind: 'incoming', to, packetId: 3, token: 't' },
  { kind: 'incoming', to, packetId: 3, token: undefined },
  { kind: 'start', to },
  { kind: 'release', to, offset: 2 ** 33 },
  { kind: 'enqueue', to, messages: [{ message, identifiers: [1, 2] }] },
  { kind: 'holds', session: 's', filter: 'a/#' },
  {
    kind: 'transaction',
    call: {
      ...{ kind: 'join', id: 'shop' },
      join: {
        ...{ producerId: 2 ** 52, epoch: 32_767, adds: true, groups: ['g'] },
        partitions: [{ topic: 't', partition: 3, log: 'topic/1/3', shard: 9 }],
      },
    },
  },
  {
    kind: 'transaction',
    call: {
      kind: 'end',
      end: {
        ...{ producerId: 7, epoch: 1, sequence: 3, commit: true, coordinatorEpoch: 2 ** 40 },
        ...{ logs: ['topic/1/3'], groups: ['g'] },
      },
    },
  },
  { kind: 'claim', claim: { name: 'a/#', session: 's', insteadOf: 'r', release: true } },
  { kind: 'retained', shards: [1, 2], filter: '#', after: 'x' },
]

const replies: ShardReply[] = [
  { status: 'ok', existed: [true, false], retained: [message] },
  { status: 'ok', existed: [], retained: [], holder: 's' },
  { status: 'ok', existed: [], retained: [], next: { shards: [4], after: 'a' } },
  {
    status: 'ok',
    existed: [],
    retained: [],
    attached: {
      attachment,
      present: true,
      durable: true,
      subscriptions: [subscription],
      incoming: new Map([[3, 't']]),
    },
  },
  { status: 'not-owner' },
  { status: 'taken-over' },
  { status: 'failed', detail: 'x' },
  { status: 'refused', detail: 'y' },
]

/** Through the bytes, as between two processes. */
function wired<T>(
  type: { encode(value: T): { finish(): Uint8Array }; decode(bytes: Uint8Array): T },
  value: T,
): T {
  return type.decode(type.encode(value).finish())
}

describe('the wire between brokers', () => {
  test.each(requests.map((request) => [request.kind, request] as const))(
    'request %s comes back as it was',
    (_kind, request) => {
      const wire = wired(broker.ShardRequest, toWireRequest(3, request))
      expect(plain(fromWireRequest(wire))).toMatchObject(plain(request))
    },
  )

  test.each(replies.map((reply) => [reply.status, reply] as const))(
    'reply %s comes back as it was',
    (_status, reply) => {
      expect(plain(fromWireReply(wired(broker.ShardReply, toWireReply(reply))))).toEqual(
        plain(reply),
      )
    },
  )

  test('a publish and a delivery come back as they were', () => {
    const places: Place[] = [
      { kind: 'sessions', shard: 1 },
      { kind: 'retained', shard: 63 },
      { kind: 'log', shard: 2, log: 'topic/x/0' },
      { kind: 'queue', shard: 4, queue: 'q', knownAt: 2 ** 40 },
    ]
    const item = { message, live: true, places }
    expect(plain(fromWirePublish(wired(broker.Publish, toWirePublish(item))))).toEqual(plain(item))
    const delivery = { offset: 5, redelivered: true, released: false, identifiers: [4], message }
    expect(plain(fromWireDelivery(wired(broker.InboxMessage, toWireDelivery(delivery))))).toEqual(
      plain(delivery),
    )
  })
})

/** Buffers and byte arrays alike. */
function plain<T>(value: T): T {
  if (value instanceof Uint8Array) return [...value] as T
  if (value instanceof Map) return value
  if (Array.isArray(value)) return value.map((entry: unknown) => plain(entry)) as T
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, plain(entry)])) as T
}
