import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { applyCommand } from './apply.ts'
import type { Command } from './commands.ts'
import { HISTORY_MAX, keyOf, type ResourceChange, ResourceTable } from './resources.ts'
import { decodeSnapshot, snapshotChunks } from './snapshot.ts'
import { emptyState, type MetadataState } from './state.ts'

const timeMs = 1

function topic(name: string, more: Partial<ResourceChange> = {}): ResourceChange {
  return { kind: 'topic', tenant: 't', name, value: '{}', expectedVersion: null, ...more }
}

function apply(state: MetadataState, ...changes: ResourceChange[]) {
  const command: Command = { kind: 'change-resources', changes, by: 'ann', timeMs }
  return applyCommand(state, command, state.index + 1)
}

function names(state: MetadataState): string[] {
  return [...state.resources.all()].map(({ name }) => name)
}

describe('change-resources', () => {
  it('gives what it changes the revision as version, and tells it', () => {
    const state = emptyState()
    state.index = 6
    const { result, change } = apply(state, topic('a'), topic('b'))
    expect(result).toEqual({ kind: 'changed', version: 7, existed: false })
    expect(change?.resourcesChanged.map(({ name, version }) => [name, version])).toEqual([
      ['a', 7],
      ['b', 7],
    ])
  })

  it.each([
    ['must not exist and does', 'a', 0],
    ['must be at another version', 'a', 5],
    ['must exist and does not', 'x', 1],
  ])('changes nothing when one %s', (_, name, expectedVersion) => {
    const state = emptyState()
    apply(state, topic('a'))
    const before = [...state.resources.all()]
    const { result, change } = apply(state, topic('new'), topic(name, { expectedVersion }))
    const version = name === 'a' ? 1 : 0
    expect(result).toEqual({ kind: 'conflict', key: { kind: 'topic', tenant: 't', name }, version })
    expect(change).toBeUndefined()
    expect([...state.resources.all()]).toEqual(before)
  })

  it('of two that were decided on the same version takes one', () => {
    const state = emptyState()
    apply(state, topic('a'))
    const change = topic('a', { value: '{"partitions":2}', expectedVersion: 1 })
    expect(apply(state, change).result.kind).toBe('changed')
    expect(apply(state, change).result.kind).toBe('conflict')
  })

  it('deletes, and says whether there was something', () => {
    const state = emptyState()
    apply(state, topic('a'))
    const gone = apply(state, topic('a', { value: null }))
    expect(gone.result).toEqual({ kind: 'changed', version: 2, existed: true })
    expect(gone.change?.resourcesRemoved).toEqual([{ kind: 'topic', tenant: 't', name: 'a' }])
    expect(apply(state, topic('a', { value: null }))).toEqual({
      result: { kind: 'changed', version: 3, existed: false },
      change: undefined,
    })
  })

  it('failure case 12: what is deleted and made again under its name is another one', () => {
    const state = emptyState()
    apply(state, topic('a'))
    const key = { kind: 'topic' as const, tenant: 't', name: 'a' }
    const first = state.resources.get(key)
    apply(state, topic('a', { value: '{"partitions":2}' }))
    expect(state.resources.get(key)).toMatchObject({ created: 1, version: 2 })
    apply(state, topic('a', { value: null }))
    apply(state, topic('a'))
    expect(state.resources.get(key)).toMatchObject({ created: 4, version: 4 })
    // Whoever slept meanwhile and decides on what it knew is refused.
    const late = topic('a', { value: '{}', expectedVersion: first?.version ?? 0 })
    expect(apply(state, late).result.kind).toBe('conflict')
  })

  it('tells how a name ends that is in several changes', () => {
    const state = emptyState()
    apply(state, topic('a'), topic('b'))
    const gone = { value: null }
    const { change } = apply(state, topic('a', gone), topic('a'), topic('b'), topic('b', gone))
    expect(change?.resourcesChanged.map(({ name, created }) => [name, created])).toEqual([['a', 2]])
    expect(change?.resourcesRemoved.map(({ name }) => name)).toEqual(['b'])
    expect(names(state)).toEqual(['a'])
  })

  it('tells kinds and tenants of the same name apart', () => {
    const state = emptyState()
    apply(state, topic('a'), topic('a', { tenant: 'u' }), topic('a', { kind: 'queue' }))
    apply(state, topic('a', { value: null }))
    const left = [...state.resources.all()].map(({ kind, tenant }) => `${kind} ${tenant}`)
    expect(left).toEqual(['topic u', 'queue t'])
  })

  it('keeps the last versions of settings, who made them, and an event for each', () => {
    const state = emptyState()
    const set = (value: string | null): void => {
      apply(state, { kind: 'setting', tenant: '', name: 's', value, expectedVersion: null })
    }
    for (let i = 0; i < HISTORY_MAX + 5; i += 1) set(String(i))
    set(String(HISTORY_MAX + 4))
    set(null)
    const history = state.resources.history('s')
    expect(history).toHaveLength(HISTORY_MAX)
    expect(history.at(-1)).toMatchObject({ value: null, by: 'ann', version: state.index })
    expect(history[0]?.value).toBe('6')
    const event = state.events.after(0).at(-1)
    expect(event).toMatchObject({ kind: 'SettingChanged', subject: 's' })
    expect(event?.reason).toBe(`${HISTORY_MAX + 4} -> its default, by ann`)
    expect(state.resources.history('other')).toEqual([])
  })
})

describe('ResourceTable.page', () => {
  it('gives each resource once, in order, whatever is asked for', () => {
    const name = fc.string({ minLength: 1, maxLength: 3 })
    const pair = fc.tuple(fc.constantFrom('', 't', 'tt'), name)
    const edits = fc.array(fc.tuple(pair, fc.boolean()), { maxLength: 60 })
    void fc.assert(
      fc.property(edits, fc.constantFrom('', 't'), name, (all, tenant, prefix) => {
        const table = new ResourceTable()
        table.page('topic', { prefix: '', after: '', limit: 1 })
        for (const [[of, called], isPut] of all) {
          const key = { kind: 'topic' as const, tenant: of, name: called }
          if (isPut) table.put({ ...key, created: 1, version: 1, value: '' })
          else table.delete(key)
        }
        const whole = keyOf(tenant, prefix)
        const found: string[] = []
        for (let after = ''; ; ) {
          const page = table.page('topic', { prefix: whole, after, limit: 2 })
          found.push(...page.map((each) => keyOf(each.tenant, each.name)))
          if (page.length < 2) break
          after = found.at(-1) ?? ''
        }
        const keys = [...table.all()].map((each) => keyOf(each.tenant, each.name))
        expect(found).toEqual(keys.filter((key) => key.startsWith(whole)).sort())
      }),
    )
  })
})

describe('snapshotChunks', () => {
  it('shows the state of the call, whatever happens while it is read', () => {
    const state = emptyState()
    for (let i = 0; i < 1_700; i += 1) apply(state, topic(`n${i}`))
    const before = names(state)
    const chunks: Uint8Array[] = []
    for (const chunk of snapshotChunks(state)) {
      chunks.push(chunk)
      apply(state, topic(`n${chunks.length}`, { value: null }), topic(`late${chunks.length}`))
    }
    expect(chunks.length).toBeGreaterThan(4)
    expect(names(decodeSnapshot(Buffer.concat(chunks)))).toEqual(before)
  })

  it('of 100,000 topics works for at most 20 ms at a time', () => {
    const state = emptyState()
    for (let batch = 0; batch < 100; batch += 1) {
      const value = '{"partitions":3}'
      const topics = Array.from({ length: 1_000 }, (_, at) => topic(`${batch}/${at}`, { value }))
      apply(state, ...topics)
    }
    const turns: number[] = []
    let at = performance.now()
    const turn = (): void => {
      turns.push(performance.now() - at)
      at = performance.now()
    }
    const chunks = snapshotChunks(state)
    turn()
    for (const chunk of chunks) if (chunk.byteLength > 0) turn()
    expect(turns.length).toBeGreaterThan(200)
    // Half a millisecond each; a busy machine may hold up a few of them.
    expect(turns.filter((ms) => ms > 20).length).toBeLessThan(5)
  })

  it('cannot be read when a part is missing', () => {
    const state = emptyState()
    for (let i = 0; i < 10; i += 1) apply(state, topic(`n${i}`))
    const bytes = Buffer.concat([...snapshotChunks(state)])
    expect(() => decodeSnapshot(bytes.subarray(0, bytes.length - 1))).toThrow('middle of a frame')
    expect(() => decodeSnapshot(bytes.subarray(0, 3))).toThrow('middle of a frame')
  })
})

describe('begin-generation', () => {
  const node = { nodeId: 'a', incarnation: '1', version: '', grpcAddress: 'h:1', endpoints: [] }

  function restored(): MetadataState {
    const state = emptyState()
    applyCommand(state, { kind: 'bootstrap', clusterId: 'c', shardCount: 2, timeMs }, 1)
    applyCommand(state, { kind: 'register-node', node, timeMs }, 2)
    return state
  }

  it('failure case 13: fences everybody, and gives out no number that was given out before', () => {
    const original = restored()
    const backup = decodeSnapshot(Buffer.concat([...snapshotChunks(original)]))
    // After the backup was made, the cluster went on for long.
    const lost = { shard: 0, nodeId: 'a', nodeEpoch: 2, prevEpoch: 0, reason: '' }
    applyCommand(original, { kind: 'grant-shards', grants: [lost], timeMs }, 1_000_000)
    const epochBefore = original.shards[0]?.epoch ?? 0
    expect(epochBefore).toBe(1_000_000)

    applyCommand(backup, { kind: 'begin-generation', previous: 0, reason: 'restored', timeMs }, 3)
    expect(backup.nodes.size).toBe(0)
    expect(backup.shards.every(({ owner }) => owner === undefined)).toBe(true)
    const again = applyCommand(backup, { kind: 'register-node', node, timeMs }, 4)
    const nodeEpoch = again.result.kind === 'registered' ? again.result.nodeEpoch : 0
    expect(nodeEpoch).toBeGreaterThan(1_000_000)
    const grant = { shard: 0, nodeId: 'a', nodeEpoch, prevEpoch: 0, reason: '' }
    applyCommand(backup, { kind: 'grant-shards', grants: [grant], timeMs }, 5)
    expect(backup.shards[0]?.epoch).toBeGreaterThan(epochBefore)
    expect(Number.isSafeInteger(backup.shards[0]?.epoch)).toBe(true)
    const changed = apply(backup, topic('x')).result
    expect(changed.kind === 'changed' && changed.version).toBeGreaterThan(1_000_000)
  })

  it('is done once for a backup', () => {
    const state = restored()
    const command: Command = { kind: 'begin-generation', previous: 0, reason: '', timeMs }
    expect(applyCommand(state, command, 3).result).toEqual({ kind: 'done' })
    expect(applyCommand(state, command, 4).result).toEqual({
      kind: 'other-generation',
      generation: 1,
    })
  })
})
