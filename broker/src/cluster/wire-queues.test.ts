import { broker } from '@robust/proto'
import type { NewRecord } from '@robust/storage-adapters'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { QueueCall } from '../core/queues/queue-call.ts'
import type { QueueReply, QueueRequest } from '../core/queues/queue-requests.ts'
import { fromWireReply, fromWireRequest, toWireReply, toWireRequest } from './wire.ts'

const bytes = fc.uint8Array({ maxLength: 40 })
const whole = fc.nat()
const big = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const text = fc.string({ maxLength: 20 })
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })

const record: fc.Arbitrary<NewRecord> = fc.record({
  timestamp: fc.integer({ min: 0, max: 2 ** 45 }),
  key: fc.option(bytes),
  value: fc.option(bytes),
  headers: fc.array(fc.tuple(fc.string({ maxLength: 10 }), bytes), { maxLength: 4 }),
})
const records = fc.array(record, { maxLength: 4 })

const receipt = fc.record({
  queueId: big,
  queue: text,
  level: whole,
  offset: big,
  lease: fc.record({ epoch: big, number: big }),
})

const action = fc.oneof(
  fc.constant({ kind: 'acknowledge' as const }),
  fc.constant({ kind: 'acknowledge' as const, heldOnly: true }),
  fc.constant({ kind: 'reject' as const }),
  fc.record({ kind: fc.constant('release' as const), delayMs: maybe(big), failed: fc.boolean() }),
  fc.record({ kind: fc.constant('extend' as const), leaseMs: big }),
)

const REQUESTS: { [K in QueueRequest['kind']]: fc.Arbitrary<Extract<QueueRequest, { kind: K }>> } =
  {
    send: fc.record({ kind: fc.constant('send'), records }),
    receive: fc.record({
      kind: fc.constant('receive'),
      max: whole,
      waitMs: big,
      leaseMs: maybe(big),
      attempt: maybe(text),
      wholeGroups: fc.boolean(),
      selector: maybe(text),
    }),
    settle: fc.record({
      kind: fc.constant('settle'),
      settlements: fc.array(fc.record({ receipt, action }), { maxLength: 3 }),
    }),
    peek: fc.record({
      kind: fc.constant('peek'),
      max: whole,
      after: maybe(fc.record({ level: whole, offset: big })),
    }),
    figures: fc.constant({ kind: 'figures' }),
    purge: fc.constant({ kind: 'purge' }),
    cancel: fc.record({ kind: fc.constant('cancel'), handle: text }),
    delayed: fc.record({ kind: fc.constant('delayed'), max: whole, after: text }),
    prepare: fc.record({ kind: fc.constant('prepare'), transaction: text, record }),
    decide: fc.record({ kind: fc.constant('decide'), transaction: text, commit: fc.boolean() }),
    redrive: fc.record({
      kind: fc.constant('redrive'),
      redrive: fc.oneof(
        fc.record({
          kind: fc.constant('start' as const),
          to: maybe(text),
          perSecondMax: maybe(fc.double({ min: 0, max: 1e6, noNaN: true })),
        }),
        fc.record({ kind: fc.constant('cancel' as const), task: text }),
        fc.constant({ kind: 'list' as const }),
      ),
    }),
  }

const outcome = fc.oneof(
  fc.record({
    kind: fc.constant('stored' as const),
    messageId: text,
    sequence: big,
    handle: text,
  }),
  fc.record({ kind: fc.constant('duplicate' as const), messageId: text, sequence: big }),
  fc.constant({ kind: 'full' as const }),
)

const REPLIES: { [K in QueueReply['kind']]: fc.Arbitrary<Extract<QueueReply, { kind: K }>> } = {
  sent: fc.record({ kind: fc.constant('sent'), outcomes: fc.array(outcome, { maxLength: 3 }) }),
  received: fc.record({
    kind: fc.constant('received'),
    messages: fc.array(
      fc.record({
        receipt,
        record,
        sequence: big,
        deliveries: whole,
        firstDeliveredAtMs: big,
      }),
      { maxLength: 3 },
    ),
    overLimit: fc.boolean(),
  }),
  settled: fc.record({
    kind: fc.constant('settled'),
    outcomes: fc.array(fc.constantFrom('done', 'stale', 'gone', 'not-leased'), { maxLength: 4 }),
  }),
  peeked: fc.record({
    kind: fc.constant('peeked'),
    messages: fc.array(fc.record({ level: whole, offset: big, record, deliveries: whole }), {
      maxLength: 3,
    }),
  }),
  figures: fc.record({
    kind: fc.constant('figures'),
    figures: fc.record({
      ready: big,
      inFlight: big,
      delayed: big,
      bytes: big,
      oldestAgeMs: big,
      consumers: whole,
    }),
  }),
  done: fc.record({ kind: fc.constant('done'), existed: fc.boolean() }),
  delayed: fc.record({
    kind: fc.constant('delayed'),
    messages: fc.array(fc.record({ handle: text, dueAtMs: big, record }), { maxLength: 3 }),
  }),
  redrives: fc.record({
    kind: fc.constant('redrives'),
    tasks: fc.array(
      fc.record({
        task: text,
        state: fc.constantFrom('running', 'completed', 'cancelling', 'cancelled', 'failed'),
        to: maybe(text),
        perSecondMax: maybe(fc.double({ min: 0, max: 1e6, noNaN: true })),
        moved: big,
        toMove: big,
        startedAtMs: big,
        failure: maybe(text),
      }),
      { maxLength: 2 },
    ),
  }),
}

/** Buffers and byte arrays alike; what is undefined is not there. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value]
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  const present = Object.entries(value).filter(([, each]) => each !== undefined)
  return Object.fromEntries(present.map(([name, each]) => [name, plain(each)]))
}

describe('the wire between brokers', () => {
  test.each(Object.entries(REQUESTS))('%s of a queue comes back as it was', (_kind, arbitrary) => {
    fc.assert(
      fc.property(text, big, arbitrary as fc.Arbitrary<QueueRequest>, (queue, knownAt, request) => {
        const call: QueueCall = { queue, knownAt, request }
        const wire = broker.ShardRequest.decode(
          broker.ShardRequest.encode(toWireRequest(3, { kind: 'queue', call })).finish(),
        )
        expect(wire.shard).toBe(3)
        expect(plain(fromWireRequest(wire))).toEqual(plain({ kind: 'queue', call }))
      }),
    )
  })

  test.each(Object.entries(REPLIES))('%s of a queue comes back as it was', (_kind, arbitrary) => {
    fc.assert(
      fc.property(arbitrary as fc.Arbitrary<QueueReply>, (queue) => {
        const reply = { status: 'ok' as const, existed: [], retained: [], queue }
        const wire = broker.ShardReply.decode(broker.ShardReply.encode(toWireReply(reply)).finish())
        expect(plain(fromWireReply(wire))).toEqual(plain(reply))
      }),
    )
  })

  test('that a queue is not there is told as that', () => {
    const reply = { status: 'not-found', detail: 'there is no queue q' } as const
    const wire = broker.ShardReply.decode(broker.ShardReply.encode(toWireReply(reply)).finish())
    expect(fromWireReply(wire)).toEqual(reply)
  })

  test('times that are over or not whole do no harm', () => {
    const settlement = {
      receipt: { queueId: 1, queue: 'q', level: 0, offset: 0, lease: { epoch: 1, number: 1 } },
      action: { kind: 'extend' as const, leaseMs: -3.5 },
    }
    const request = { kind: 'settle' as const, settlements: [settlement] }
    const sent = toWireRequest(0, { kind: 'queue', call: { queue: 'q', knownAt: 0, request } })
    const wire = broker.ShardRequest.decode(broker.ShardRequest.encode(sent).finish())
    expect(fromWireRequest(wire)).toMatchObject({
      call: { request: { settlements: [{ action: { kind: 'extend', leaseMs: 0 } }] } },
    })
  })
})
