/**
 * Owners that die in the middle of commits, which are then stored or not, answered or not. What was answered must
 * hold: nothing sent is lost, nothing acknowledged comes back, nothing is there twice, groups stay in order.
 */
import { createMemoryStorage, type StorageAdapter } from '@robust/storage-adapters'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Received } from '../core/queues/queue-requests.ts'
import { QueueBench, valuesOf } from '../testing/queue-fixtures.ts'
import { settle } from '../testing/virtual-clock.ts'

type Draw = (below: number) => number

/** Mulberry32. */
function drawFrom(seed: number): Draw {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** Commits take their time; some are stored and never answered, some neither. */
function unreliable(draw: Draw): { storage: StorageAdapter; mend: () => void } {
  const real = createMemoryStorage()
  let isMended = false
  const storage = new Proxy(real, {
    get: (target, name) => {
      const value = Reflect.get(target, name) as unknown
      if (name !== 'commit') return typeof value === 'function' ? value.bind(target) : value
      return async (...args: Parameters<StorageAdapter['commit']>) => {
        const fate = isMended ? 9 : draw(10)
        for (let turns = draw(4); turns > 0; turns--) await new Promise(setImmediate)
        if (fate === 0) return new Promise<void>(() => undefined)
        await real.commit(...args)
        return fate === 1 ? new Promise<void>(() => undefined) : undefined
      }
    },
  })
  return { storage, mend: () => (isMended = true) }
}

class History {
  readonly #bench: QueueBench
  readonly #draw: Draw
  readonly #sent = new Set<string>()
  readonly #tried = new Set<string>()
  readonly #acknowledged = new Set<string>()
  /** An acknowledgement may have been stored without an answer. */
  readonly #asked = new Set<string>()
  #held: Received[] = []
  #count = 0
  #pushed = 0

  constructor(bench: QueueBench, draw: Draw) {
    this.#bench = bench
    this.#draw = draw
  }

  step(): void {
    const kind = this.#draw(5)
    if (kind < 2) this.#send()
    else if (kind === 2) this.#receive()
    else if (kind === 3) this.#acknowledge()
    else this.#consume()
  }

  #send(): void {
    const at = this.#count++
    const group = ['', 'g', 'h'][this.#draw(3)] ?? ''
    const value = `${group}${at}`
    this.#tried.add(value)
    const delay =
      this.#draw(4) === 0 && group === ''
        ? { 'deliver-at': String(this.#bench.clock.wallMs() + 50) }
        : {}
    this.#quietly(
      this.#bench.send([[value, { ...(group !== '' && { group }), ...delay }]]).then(() => {
        this.#sent.add(value)
      }),
    )
  }

  #receive(): void {
    this.#quietly(
      this.#bench
        .receive({ max: 1 + this.#draw(3), leaseMs: 200 })
        .then((messages) => this.#got(messages)),
    )
  }

  #got(messages: readonly Received[]): void {
    for (const value of valuesOf(messages)) expect(this.#acknowledged).not.toContain(value)
    this.#held.push(...messages)
  }

  #acknowledge(): void {
    const messages = this.#held.splice(0, 1 + this.#draw(3))
    if (messages.length === 0) return
    for (const value of valuesOf(messages)) this.#asked.add(value)
    this.#quietly(
      this.#bench.settle('acknowledge', messages).then((outcomes) => {
        for (const [at, outcome] of outcomes.entries()) {
          const value = valuesOf(messages)[at] ?? ''
          if (outcome === 'done') this.#acknowledged.add(value)
        }
      }),
    )
  }

  /** A consumer of the present owner: its leases are not stored. */
  #consume(): void {
    const id = `c${this.#pushed++}`
    this.#quietly(
      this.#bench.queue().then((queue) => {
        queue.receivers.addConsumer(
          {
            id,
            node: 'b1',
            nodeEpoch: 1,
            priority: 0,
            matches: undefined,
            push: (message) => this.#got([message]),
          },
          1 + this.#draw(3),
        )
      }),
    )
  }

  /** What an owner that is gone was asked is never answered. */
  #quietly(asked: Promise<void>): void {
    asked.catch((error: unknown) => {
      const isMoved = error instanceof Error && 'code' in error && error.code === 'UNAVAILABLE'
      if (!isMoved) throw error
    })
  }

  async finish(): Promise<void> {
    this.#held = []
    await this.#bench.clock.advance(5_000)
    const left: string[] = []
    for (let messages = await this.#next(); messages.length > 0; messages = await this.#next()) {
      left.push(...valuesOf(messages))
      await this.#bench.settle('acknowledge', messages)
    }
    expect(new Set(left).size).toBe(left.length)
    for (const value of left) {
      expect(this.#acknowledged).not.toContain(value)
      expect(this.#tried).toContain(value)
    }
    for (const value of this.#sent) {
      if (!this.#asked.has(value)) expect(left).toContain(value)
    }
    for (const group of ['g', 'h']) {
      const order = left
        .filter((value) => value.startsWith(group))
        .map((value) => Number(value.slice(1)))
      expect(order).toEqual(order.toSorted((a, b) => a - b))
    }
    expect(this.#bench.errors).toEqual([])
  }

  #next(): Promise<readonly Received[]> {
    return this.#bench.receive({ max: 5 })
  }
}

describe('a queue whose owners die in the middle of commits', () => {
  test('keeps what it has answered', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 6 }), async (seed, owners) => {
        const draw = drawFrom(seed)
        const { storage, mend } = unreliable(draw)
        const bench = new QueueBench({ order: 'group' }, storage)
        const history = new History(bench, draw)
        for (let owner = 0; owner < owners; owner++) {
          await bench.own()
          for (let steps = draw(30); steps > 0; steps--) {
            history.step()
            for (let turns = draw(3); turns > 0; turns--) await new Promise(setImmediate)
            if (draw(5) === 0) await bench.clock.advance(100)
          }
        }
        mend()
        await bench.own()
        await settle()
        await history.finish()
      }),
      { numRuns: Number(process.env['ROBUST_QUEUE_RUNS'] ?? 150) },
    )
  }, 240_000)
})
