import { describe, expect, it } from 'vitest'
import { DEFAULT_LIMITS } from '../options.ts'
import { LoneNode } from '../testing/lone-node.ts'
import type { MessageBody } from './messages.ts'

describe('a leader', () => {
  it('pipelines within the limit, and goes back to probing on a refusal', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    lone.lead()
    lone.settle()
    lone.accept('b', 2)
    for (let at = 0; at < 40; at += 1) {
      lone.node.propose(Buffer.from('x'))
      lone.take()
    }
    const [b] = lone.node.progress
    // What is less than a message waits for an answer; what fills one does not.
    expect([b!.state, b!.inFlight]).toEqual(['replicate', 2])
    for (let at = 0; at < 40; at += 1) {
      lone.node.propose(new Uint8Array(DEFAULT_LIMITS.appendBytesMax / 4))
      lone.take()
    }
    expect(b!.inFlight).toBeGreaterThan(8)
    const refusal = {
      kind: 'append-response',
      accepted: false,
      index: 20,
      hintIndex: 2,
      hintTerm: 2,
    }
    lone.step('b', 2, refusal as MessageBody)
    expect([b!.state, b!.nextIndex]).toEqual(['probe', 3])
  })
})
