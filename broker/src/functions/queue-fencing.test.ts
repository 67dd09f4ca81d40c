/**
 * An owner that is cut off from everything but storage, and goes on beside the next one, which it knows nothing of.
 * Nobody tells it to stop: storage alone keeps the two apart.
 */
import { createMemoryStorage, type StorageAdapter } from '@robust/storage-adapters'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Received } from '../core/queues/queue-requests.ts'
import { QueueBench, valuesOf } from '../testing/queue-fixtures.ts'

/** Commits take a turn or more, so that the other owner can come in between. */
function slow(): StorageAdapter {
  const storage = createMemoryStorage()
  const commit = storage.commit.bind(storage)
  let turns = 0
  storage.commit = async (request) => {
    turns = (turns + 1) % 3
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
    return commit(request)
  }
  return storage
}

/** What clients have been told, whichever owner they asked. */
class Clients {
  readonly sent = new Set<string>()
  readonly acknowledged = new Set<string>()
  readonly asked = new Set<string>()
  readonly #held: Received[] = []
  refused = 0
  #count = 0

  async send(owner: QueueBench): Promise<void> {
    const value = `m${this.#count++}`
    await this.#ask(owner.send([value]), () => this.sent.add(value))
  }

  async receive(owner: QueueBench): Promise<void> {
    await this.#ask(owner.receive({ max: 2, leaseMs: 500 }), (messages) => {
      for (const value of valuesOf(messages)) expect(this.acknowledged).not.toContain(value)
      this.#held.push(...messages)
    })
  }

  async acknowledge(owner: QueueBench): Promise<void> {
    const messages = this.#held.splice(0, 2)
    const values = valuesOf(messages)
    for (const value of values) this.asked.add(value)
    await this.#ask(owner.settle('acknowledge', messages), (outcomes) => {
      for (const [at, outcome] of outcomes.entries()) {
        if (outcome === 'done') this.acknowledged.add(values[at] as string)
      }
    })
  }

  async #ask<T>(asked: Promise<T>, told: (answer: T) => void): Promise<void> {
    try {
      told(await asked)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'UNAVAILABLE')) throw error
      this.refused++
    }
  }
}

const steps = fc.array(
  fc.record({
    what: fc.constantFrom('send' as const, 'send' as const, 'receive', 'acknowledge'),
    isByOld: fc.boolean(),
    waits: fc.boolean(),
  }),
  { minLength: 10, maxLength: 60 },
)

describe('two owners that both go on', () => {
  test('answer for no message that is lost, and for none twice', async () => {
    let refused = 0
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(9), async (history, takenAt) => {
        const storage = slow()
        const owners = { old: new QueueBench({}, storage), new: new QueueBench({}, storage, 1) }
        await owners.old.own()
        const clients = new Clients()
        const asked: Promise<void>[] = []
        for (const [at, { what, isByOld, waits }] of history.entries()) {
          if (at === takenAt) await owners.new.own()
          const isOld = isByOld || at < takenAt
          asked.push(clients[what](isOld ? owners.old : owners.new))
          if (waits) await new Promise(setImmediate)
        }
        await Promise.all(asked)
        await owners.new.clock.advance(5_000)
        const left = await owners.new.drain()
        expect(new Set(left).size).toBe(left.length)
        for (const value of left) expect(clients.acknowledged).not.toContain(value)
        for (const value of clients.sent) {
          if (!clients.asked.has(value)) expect(left).toContain(value)
        }
        expect(owners.new.errors).toEqual([])
        refused += clients.refused
      }),
      { numRuns: Number(process.env['ROBUST_QUEUE_RUNS'] ?? 100) },
    )
    expect(refused).toBeGreaterThan(0)
  }, 120_000)
})
