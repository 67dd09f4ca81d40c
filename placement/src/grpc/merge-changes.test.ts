import type { placement as wire } from '@robust/proto'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import type { NumberedChange } from './change-ring.ts'
import { mergeChanges } from './merge-changes.ts'

const version = fc.nat({ max: 9 })
const name = fc.constantFrom('a', 'b', 'c')

/** Within one change nothing is both changed and removed. */
const change = fc
  .array(fc.tuple(fc.constantFrom('node', 'shard', 'resource'), name, fc.boolean(), version))
  .map((edits): wire.Change => {
    const whole = {
      nodesChanged: [],
      nodesRemoved: [],
      shardsChanged: [],
      resourcesChanged: [],
      resourcesRemoved: [],
    } as unknown as Record<keyof wire.Change, unknown[]>
    const seen = new Set<string>()
    for (const [what, at, isGone, number] of edits) {
      if (seen.has(`${what} ${at}`)) continue
      seen.add(`${what} ${at}`)
      const key = { kind: 'topic', tenant: '', name: at }
      if (what === 'shard') whole.shardsChanged.push({ shard: at.charCodeAt(0), epoch: number })
      else if (what === 'node' && isGone) whole.nodesRemoved.push(at)
      else if (what === 'node') whole.nodesChanged.push({ nodeId: at, nodeEpoch: number })
      else if (isGone) whole.resourcesRemoved.push(key)
      else whole.resourcesChanged.push({ ...key, version: number })
    }
    return whole as unknown as wire.Change
  })

function follow(changes: readonly NumberedChange[]): Record<string, unknown> {
  const known: Record<string, unknown> = {}
  for (const { change: each } of changes) {
    for (const node of each.nodesChanged) known[`node ${node.nodeId}`] = node
    for (const nodeId of each.nodesRemoved) delete known[`node ${nodeId}`]
    for (const shard of each.shardsChanged) known[`shard ${shard.shard}`] = shard
    for (const resource of each.resourcesChanged) known[`resource ${resource.name}`] = resource
    for (const key of each.resourcesRemoved) delete known[`resource ${key.name}`]
  }
  return known
}

function removals(changes: readonly NumberedChange[]): string[] {
  const all = changes.flatMap(({ change: each }) => each.nodesRemoved)
  return [...new Set(all)].sort()
}

it('mergeChanges says the same in fewer messages, and hides no removal of a node', () => {
  void fc.assert(
    fc.property(fc.array(change, { maxLength: 12 }), (list) => {
      const numbered = list.map((each, at) => ({ index: at + 1, change: each }))
      const merged = mergeChanges(numbered)
      expect(follow(merged)).toEqual(follow(numbered))
      const back = new Set(removals(numbered).filter((id) => `node ${id}` in follow(numbered)))
      for (const id of back) {
        const after = numbered.findLastIndex(({ change: each }) => each.nodesRemoved.includes(id))
        expect(after).toBeGreaterThanOrEqual(0)
        expect(removals(merged)).toContain(id)
      }
      expect(merged.length).toBeLessThanOrEqual(numbered.length)
      const indexes = merged.map(({ index }) => index)
      expect(indexes).toEqual([...indexes].sort((x, y) => x - y))
    }),
    { numRuns: 500 },
  )
})

it('mergeChanges makes no message that is too large', () => {
  const many = Array.from({ length: 100 }, (_, at) => ({
    index: at,
    change: {
      nodesChanged: [],
      nodesRemoved: [],
      shardsChanged: [],
      resourcesChanged: Array.from({ length: 500 }, (__, n) => ({
        kind: 'topic',
        tenant: '',
        name: `${at}/${n}`,
        created: at,
        version: at,
        value: '',
      })),
      resourcesRemoved: [],
    },
  }))
  const merged = mergeChanges(many)
  expect(merged.length).toBe(25)
  expect(merged.at(-1)?.index).toBe(99)
})
