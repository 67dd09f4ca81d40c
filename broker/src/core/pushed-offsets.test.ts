import fc from 'fast-check'
import { expect, test } from 'vitest'
import { PushedOffsets } from './pushed-offsets.ts'

class Model {
  readonly pushed = new Set<number>()
  readonly acknowledged = new Set<number>()
}

/** `at`: which of the offsets that are possible then. */
const step = fc.record({
  kind: fc.constantFrom('next', 'skip', 'again', 'acknowledge', 'acknowledge-first'),
  at: fc.nat(),
})

function run(steps: readonly { kind: string; at: number }[], start: number): void {
  const known = new PushedOffsets()
  const model = new Model()
  let next = start
  const push = (offset: number): void => {
    if (model.acknowledged.has(offset) || model.pushed.has(offset)) return
    known.push(offset)
    model.pushed.add(offset)
  }
  for (const { kind, at } of steps) {
    const waiting = [...model.pushed].sort((a, b) => a - b)
    if (kind === 'next') push(next++)
    else if (kind === 'skip') next += at % 5
    // A new owner begins where it knows of no acknowledgement: below everything, too.
    else if (kind === 'again') push(Math.max(0, start - 3) + (at % (next - start + 4)))
    else if (waiting.length > 0) {
      const offset = waiting[kind === 'acknowledge' ? at % waiting.length : 0] as number
      known.acknowledge(offset)
      model.pushed.delete(offset)
      model.acknowledged.add(offset)
    }
    next = Math.max(next, ...model.pushed, ...model.acknowledged)
    for (let offset = Math.max(0, start - 5); offset < next + 3; offset++) {
      expect([offset, known.isPushed(offset), known.isAcknowledged(offset)]).toEqual([
        offset,
        model.pushed.has(offset),
        model.acknowledged.has(offset),
      ])
    }
  }
}

test('PushedOffsets knows of each offset whether it was sent and acknowledged', () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), fc.nat(20), run), { numRuns: 1_000 })
})

test('PushedOffsets remembers no more than it may, and takes nothing for acknowledged that is not', () => {
  const known = new PushedOffsets()
  for (let offset = 0; offset < 50_000; offset++) {
    known.push(offset * 3)
    // The very first stays open: everything else is out of order.
    if (offset > 0) known.acknowledge(offset * 3)
  }
  for (let offset = 0; offset < 150_000; offset++) {
    if (known.isAcknowledged(offset)) expect([offset % 3, offset > 0]).toEqual([0, true])
  }
  known.push(1e9)
  expect(known.isPushed(1e9)).toBe(true)
  expect(known.isAcknowledged(3)).toBe(false)
})
