import { describeStateMachine } from 'raft-ts/conformance'
import { describe, expect, it } from 'vitest'
import { type Command, encodeCommand } from '../metadata/commands.ts'
import { MetadataMachine } from './metadata-machine.ts'

const timeMs = 1

function put(names: readonly string[]): Command {
  const changes = names.map((name) => {
    return { kind: 'topic' as const, tenant: 't', name, value: '{"a":1}', expectedVersion: null }
  })
  return { kind: 'change-resources', changes, by: 'me', timeMs }
}

function command(at: number): Command {
  const node = { nodeId: `n${at % 3}`, incarnation: '1', version: '0', grpcAddress: 'x:1' }
  switch (at % 5) {
    case 0:
      return { kind: 'bootstrap', clusterId: 'c', shardCount: 4, timeMs }
    case 1:
      return { kind: 'register-node', node: { ...node, endpoints: [] }, timeMs }
    case 2:
      return { kind: 'record-member', memberId: `m${at % 4}`, folderId: `${at % 2}`, timeMs }
    case 3:
      return put([`x${at % 7}`, 'y'])
    default:
      return {
        kind: 'change-resources',
        changes: [
          { kind: 'setting', tenant: '', name: 's', value: `${at}`, expectedVersion: null },
          { kind: 'topic', tenant: 't', name: `x${at % 7}`, value: null, expectedVersion: null },
        ],
        by: '',
        timeMs,
      }
  }
}

describeStateMachine('MetadataMachine', {
  create: () => new MetadataMachine(),
  command: (at) => encodeCommand(command(at)),
})

describe('MetadataMachine', () => {
  it('lets the event loop go on while it reads and writes a large state', async () => {
    const machine = new MetadataMachine()
    const count = 40
    for (let at = 1; at <= count; at += 1) {
      const names = Array.from({ length: 1_000 }, (_, each) => `${at}/${each}`)
      machine.apply([{ index: at, term: 1, command: encodeCommand(put(names)) }])
    }
    let turns = 0
    let isOver = false
    const turn = (): void => {
      turns += 1
      if (!isOver) setImmediate(turn)
    }
    turn()
    const parts: Uint8Array[] = []
    for await (const part of machine.snapshot()) parts.push(part)
    // A frame holds 500 rows.
    expect(turns).toBeGreaterThan(count * 2)
    turns = 0
    const other = new MetadataMachine()
    const carryOut = await other.prepareRestore(Buffer.concat(parts))
    expect(turns).toBeGreaterThan(count * 2)
    isOver = true
    carryOut()
    expect(other.hash()).toBe(machine.hash())
    expect(other.state.resources.size).toBe(count * 1_000)
  })
})
