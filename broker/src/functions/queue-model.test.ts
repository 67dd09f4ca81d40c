/**
 * The blocks together against a queue of a few lines, with owners that go without a word at any moment. A failure prints
 * the seed and the shortest history that shows it.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { QueuePolicy } from '../core/queues/queue-policy.ts'
import type { QueueReceipt } from '../core/queues/receipt.ts'
import { QueueBench, valuesOf } from '../testing/queue-fixtures.ts'
import { settle } from '../testing/virtual-clock.ts'

const LEASE_MS = 1_000
const DEDUPLICATION_MS = 5_000
const DEAD = 'default/dead'

interface ModelMessage {
  readonly value: string
  readonly group: string
  readonly level: number
  /** Order of arrival; of what waits for its time, when it is over. */
  at: number
  dueAtMs: number
  state: 'delayed' | 'ready' | 'leased' | 'waiting'
  untilMs: number
  deliveries: number
  receipt: QueueReceipt | undefined
}

class Model {
  messages: ModelMessage[] = []
  readonly dead: string[] = []
  readonly seen = new Map<string, number>()
  readonly policy: QueuePolicy
  #arrivals = 0

  constructor(policy: QueuePolicy) {
    this.policy = policy
  }

  send({ value, group, level, delayMs, id }: Sent, nowMs: number): 'stored' | 'duplicate' {
    if ((this.seen.get(id) ?? 0) > nowMs) return 'duplicate'
    this.seen.set(id, nowMs + DEDUPLICATION_MS)
    this.messages.push({
      value,
      group,
      level,
      at: delayMs > 0 ? Number.POSITIVE_INFINITY : this.#arrivals++,
      dueAtMs: nowMs + delayMs,
      state: delayMs > 0 ? 'delayed' : 'ready',
      untilMs: 0,
      deliveries: 0,
      receipt: undefined,
    })
    return 'stored'
  }

  /** What falls due, in the order in which it does. */
  advance(nowMs: number): void {
    const due = this.messages
      .filter(({ state, dueAtMs }) => state === 'delayed' && dueAtMs <= nowMs)
      .sort((a, b) => a.dueAtMs - b.dueAtMs)
    for (const message of due) {
      message.state = 'ready'
      message.at = this.#arrivals++
    }
    for (const message of this.messages) {
      if (message.untilMs > nowMs) continue
      if (message.state === 'waiting') message.state = 'ready'
      if (message.state === 'leased') this.fail(message, nowMs)
    }
  }

  fail(message: ModelMessage, nowMs: number, delayMs?: number): void {
    if (message.deliveries >= (this.policy.deliveriesMax ?? Number.POSITIVE_INFINITY)) {
      this.remove(message)
      this.dead.push(message.value)
      return
    }
    message.state = delayMs === undefined ? 'ready' : 'waiting'
    message.untilMs = nowMs + (delayMs ?? 0)
  }

  remove(message: ModelMessage): void {
    this.messages = this.messages.filter((each) => each !== message)
  }

  receive(max: number, nowMs: number): ModelMessage[] {
    const found: ModelMessage[] = []
    const inOrder = this.messages
      .filter(({ state }) => state !== 'delayed')
      .sort((a, b) => b.level - a.level || a.at - b.at)
    const blocked = new Set(
      inOrder.filter(({ state }) => state === 'leased').map(({ group }) => group),
    )
    for (const message of inOrder) {
      const isOrdered = this.policy.order === 'group' && message.group !== ''
      if (isOrdered && blocked.has(message.group)) continue
      if (isOrdered) blocked.add(message.group)
      if (message.state !== 'ready' || found.length === max) continue
      message.state = 'leased'
      message.untilMs = nowMs + LEASE_MS
      message.deliveries++
      found.push(message)
    }
    return found
  }
}

interface Sent {
  readonly value: string
  readonly group: string
  readonly level: number
  readonly delayMs: number
  readonly id: string
}

interface Real {
  readonly bench: QueueBench
  readonly held: { receipt: QueueReceipt; message: ModelMessage }[]
  count: number
}

type Command = fc.AsyncCommand<Model, Real>

function command(name: string, run: (model: Model, real: Real) => Promise<void>): Command {
  return { check: () => true, run, toString: () => name }
}

const sends = fc
  .record({
    group: fc.constantFrom('', 'g', 'h'),
    level: fc.integer({ min: 0, max: 2 }),
    delayMs: fc.constantFrom(0, 0, 0, 1, 700, 3_000),
    repeats: fc.boolean(),
  })
  .map(({ repeats, ...message }) =>
    command(`send ${JSON.stringify({ ...message, repeats })}`, async (model, real) => {
      const { bench } = real
      if (!repeats) real.count++
      const sent = { ...message, value: `m${real.count}`, id: `m${real.count}` }
      const level = model.policy.priorities > 1 ? sent.level : 0
      const headers = {
        'deduplication-id': sent.id,
        priority: String(level),
        ...(sent.group !== '' && { group: sent.group }),
        ...(sent.delayMs > 0 && { 'deliver-at': String(bench.clock.wallMs() + sent.delayMs) }),
      }
      const expected = model.send({ ...sent, level }, bench.clock.wallMs())
      const outcomes = await bench.send([[sent.value, headers]])
      expect(outcomes.map(({ kind }) => kind)).toEqual([expected])
    }),
  )

const receives = fc.integer({ min: 1, max: 5 }).map((max) =>
  command(`receive ${max}`, async (model, { bench, held }) => {
    const expected = model.receive(max, bench.clock.wallMs())
    const received = await bench.receive({ max })
    expect(valuesOf(received)).toEqual(expected.map(({ value }) => value))
    expect(received.map(({ deliveries }) => deliveries)).toEqual(
      expected.map(({ deliveries }) => deliveries),
    )
    for (const [at, { receipt }] of received.entries()) {
      const message = expected[at] as ModelMessage
      message.receipt = receipt
      held.push({ receipt, message })
    }
  }),
)

const settlements = fc
  .record({
    index: fc.nat(20),
    kind: fc.constantFrom('acknowledge', 'acknowledge', 'release', 'delay', 'extend', 'reject'),
  })
  .map(({ index, kind }) =>
    command(`${kind} ${index}`, async (model, { bench, held }) => {
      const holding = held[index % Math.max(1, held.length)]
      if (holding === undefined) return
      const { receipt, message } = holding
      const now = bench.clock.wallMs()
      const isHere = model.messages.includes(message)
      const isLast = message.receipt === receipt
      const isLeased = message.state === 'leased'
      const action = {
        acknowledge: { kind: 'acknowledge' },
        release: { kind: 'release', delayMs: 0, failed: true },
        delay: { kind: 'release', delayMs: 500, failed: true },
        extend: { kind: 'extend', leaseMs: 2_000 },
        reject: { kind: 'reject' },
      } as const
      const [outcome] = await bench.settle(action[kind as keyof typeof action], [holding])
      if (!isHere) return expect(outcome).toBe('gone')
      if (!isLast) return expect(outcome).toBe('stale')
      if (kind === 'acknowledge' || kind === 'reject') {
        model.remove(message)
        if (kind === 'reject') model.dead.push(message.value)
        return expect(outcome).toBe('done')
      }
      if (!isLeased) return expect(outcome).toBe('not-leased')
      if (kind === 'release') model.fail(message, now)
      else if (kind === 'delay') model.fail(message, now, 500)
      else message.untilMs = now + 2_000
      expect(outcome).toBe('done')
    }),
  )

/** One step at a time: what falls due at different times is ordered by them. */
async function advance(model: Model, bench: QueueBench, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    await bench.clock.advance(Math.min(left, 100))
    model.advance(bench.clock.wallMs())
  }
}

const advances = fc
  .constantFrom(1, 400, 700, 1_000, 6_000)
  .map((ms) => command(`advance ${ms}`, (model, { bench }) => advance(model, bench, ms)))

const owners = fc.constant(command('another owner', (_model, { bench }) => bench.own()))

const policies = fc.record({
  order: fc.constantFrom<QueuePolicy['order']>('none', 'group'),
  priorities: fc.constantFrom(1, 3),
  deliveriesMax: fc.constantFrom(undefined, 2, 3),
})

describe('a queue and its model', () => {
  test('agree, whatever happens and whoever owns it', async () => {
    const histories = fc.commands(
      [sends, sends, receives, receives, settlements, advances, owners],
      {
        maxCommands: 60,
      },
    )
    await fc.assert(
      fc.asyncProperty(policies, histories, async (chosen, commands) => {
        // Groups are ordered by arrival, which priorities would cross.
        const mixed = chosen.order === 'group' ? { ...chosen, priorities: 1 } : chosen
        const bench = new QueueBench({
          ...mixed,
          leaseMs: LEASE_MS,
          deduplicationMs: DEDUPLICATION_MS,
          deadLetterQueue: DEAD,
        })
        bench.define(DEAD)
        await bench.own()
        const model = new Model(bench.policies.get('default/q') as QueuePolicy)
        const real: Real = { bench, held: [], count: 0 }
        await fc.asyncModelRun(() => ({ model, real }), commands)
        await bench.own()
        await advance(model, bench, 8_000)
        await settle()
        expect((await bench.drain(DEAD)).sort()).toEqual([...model.dead].sort())
        const left = model.messages.map(({ value }) => value)
        expect((await bench.drain()).sort()).toEqual(left.sort())
        expect(await bench.figures()).toMatchObject({ ready: 0, inFlight: 0, delayed: 0, bytes: 0 })
        expect(bench.errors).toEqual([])
      }),
      { numRuns: Number(process.env['ROBUST_QUEUE_RUNS'] ?? 200) },
    )
  }, 240_000)
})
