import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ClusterState, NodeRecord } from '../cluster/state.ts'
import type { Output } from '../output.ts'
import { canBreakProcesses, faultsOfNode, prepareFaults, requireFaults } from './node-faults.ts'

let home: string
const path = process.env['PATH']

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'robust-faults-'))
})

afterEach(() => {
  process.env['PATH'] = path
  rmSync(home, { recursive: true, force: true })
})

function cluster(breakable: boolean): ClusterState {
  const node = (name: string, role: NodeRecord['role']): NodeRecord => ({
    ...{ name, role, pid: null, startTime: null, ports: {}, args: [], logFile: '' },
    dataDir: join(home, 'data', name),
    ...(breakable && role !== 'network' && { faults: join(home, 'faults', name) }),
  })
  const nodes = [node('network-1', 'network'), node('broker-1', 'broker')]
  return { name: 'x', breakable, nodes } as unknown as ClusterState
}

describe('processes that can be broken', () => {
  test('are none of a cluster that was not made so', () => {
    const state = cluster(false)
    expect(canBreakProcesses(state)).toBe(false)
    expect(() => requireFaults(state)).toThrow(
      expect.objectContaining({
        id: 'PROCESSES_NOT_BREAKABLE',
        failure: expect.objectContaining({ hint: expect.stringContaining('--breakable') }),
      }),
    )
  })

  test('are those that began with the library', () => {
    const state = cluster(true)
    prepareFaults(state.nodes, { warn: () => undefined } as unknown as Output)
    // Nothing has started yet.
    expect(canBreakProcesses(state)).toBe(false)
    for (const node of state.nodes) faultsOfNode(node)
    expect(canBreakProcesses(state)).toBe(existsSync(join(home, 'faults', 'faults.so')))
  })

  test('are none without a compiler, which is said at the start and is an error later', () => {
    const state = cluster(true)
    mkdirSync(join(home, 'empty'))
    process.env['PATH'] = join(home, 'empty')
    const warnings: string[] = []
    prepareFaults(state.nodes, { warn: (text: string) => warnings.push(text) } as unknown as Output)
    expect(warnings).toEqual([expect.stringMatching(/no C compiler.*apt-get install gcc/)])
    for (const node of state.nodes) expect(faultsOfNode(node)).toBeUndefined()
    expect(() => requireFaults(state)).toThrow(expect.objectContaining({ id: 'NO_COMPILER' }))
  })
})
