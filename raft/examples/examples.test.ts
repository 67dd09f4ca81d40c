import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeStateMachine } from 'raft-ts/conformance'
import { describe, expect, it } from 'vitest'
import { run as runDurableMember } from './durable-member.ts'
import { encodeCommand, KeyValueMachine } from './key-value-machine.ts'
import { run as runThreeMembers } from './three-members.ts'

describe('the examples', () => {
  it('three-members goes on without its first leader', async () => {
    const lines: string[] = []
    await runThreeMembers((line) => lines.push(line))
    expect(lines).toEqual([
      expect.stringMatching(/^[abc] leads$/),
      expect.stringMatching(/^[abc] is gone, [abc] leads$/),
      'greeting: hello',
      'compared and set: {"isDone":true}',
    ])
  })

  it('durable-member goes on where it ended, and does a repeated command once', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'raft-example-'))
    try {
      for (const runs of [0, 1]) {
        const lines: string[] = []
        await runDurableMember(directory, (line) => lines.push(line))
        expect(lines).toContain(`runs so far: ${runs}`)
        expect(lines).toContain(
          'repeated: {"kind":"applied","result":{"isDone":true},"isRepeated":true}',
        )
        expect(lines).toContain('raft_proposals_total 3')
      }
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})

describeStateMachine('KeyValueMachine', {
  create: () => new KeyValueMachine(),
  command: (at) => {
    const key = `key-${at % 7}`
    if (at % 5 === 4) return encodeCommand({ kind: 'delete', key })
    if (at % 3 === 2) {
      return encodeCommand({ kind: 'compare-and-set', key, expected: null, value: `${at}` })
    }
    return encodeCommand({ kind: 'put', key, value: `value ${at}` })
  },
})
