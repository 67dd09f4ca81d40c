import { describe, expect, it } from 'vitest'
import { applyCommand } from './apply.ts'
import type { Command } from './commands.ts'
import { Digest } from './digest.ts'
import { emptyState, type MetadataState } from './state.ts'
import { hashOfState } from './state-hash.ts'

function change(name: string, value: string | null): Command {
  const changes = [{ kind: 'topic' as const, tenant: 't', name, value, expectedVersion: null }]
  return { kind: 'change-resources', by: '', changes, timeMs: 1 }
}

function made(): MetadataState {
  const state = emptyState()
  applyCommand(state, { kind: 'bootstrap', clusterId: 'c', shardCount: 2, timeMs: 1 }, 1)
  const endpoints = [{ protocol: 'mqtt', host: 'h', port: 1 }]
  const named = { nodeId: 'a', incarnation: '1', version: '0', grpcAddress: 'x:1' }
  applyCommand(state, { kind: 'register-node', node: { ...named, endpoints }, timeMs: 1 }, 2)
  applyCommand(state, change('x', '{"a":1}'), 3)
  applyCommand(state, change('y', '{"b":1}'), 4)
  const setting = { kind: 'setting' as const, tenant: '', name: 's', value: '1' }
  const changes = [{ ...setting, expectedVersion: null }]
  applyCommand(state, { kind: 'change-resources', by: 'me', changes, timeMs: 1 }, 5)
  applyCommand(state, { kind: 'record-member', memberId: 'm', folderId: 'f', timeMs: 1 }, 6)
  return state
}

describe('hashOfState', () => {
  it('is the same for the same state, and is not that of an empty one', () => {
    expect(hashOfState(made())).toBe(hashOfState(made()))
    expect(hashOfState(made())).not.toBe(hashOfState(emptyState()))
    expect(hashOfState(made())).toMatch(/^[0-9a-f]{16}-[0-9a-f]{16}$/)
  })

  it.each<[string, (state: MetadataState) => void]>([
    [
      'a resource',
      ({ resources }) => {
        const found = resources.get({ kind: 'topic', tenant: 't', name: 'x' })
        resources.put({ ...found!, value: '{"a":2}' })
      },
    ],
    [
      'the version of one',
      ({ resources }) => {
        const found = resources.get({ kind: 'topic', tenant: 't', name: 'x' })
        resources.put({ ...found!, version: 4 })
      },
    ],
    [
      'a missing one',
      ({ resources }) => {
        resources.delete({ kind: 'topic', tenant: 't', name: 'x' })
      },
    ],
    [
      'values that changed places',
      ({ resources }) => {
        const x = resources.get({ kind: 'topic', tenant: 't', name: 'x' })
        const y = resources.get({ kind: 'topic', tenant: 't', name: 'y' })
        resources.put({ ...x!, value: y!.value })
        resources.put({ ...y!, value: x!.value })
      },
    ],
    ['a node', ({ nodes }) => void nodes.set('a', { ...nodes.get('a')!, nodeEpoch: 9 })],
    [
      'a drain',
      ({ nodes }) => void nodes.set('a', { ...nodes.get('a')!, drain: { deadlineMs: 1 } }),
    ],
    [
      'an epoch',
      ({ shards }) => {
        shards[1] = { ...shards[1]!, epoch: 7 }
      },
    ],
    ['a folder', ({ folders }) => void folders.set('m', 'other')],
    [
      'a history',
      ({ resources }) => {
        resources.remember('s', [{ version: 5, timeMs: 1, value: '2', by: 'me' }])
      },
    ],
    [
      'an event',
      ({ events }) => {
        events.append({ index: 6, timeMs: 1, kind: 'x', subject: '', reason: '', shards: [] })
      },
    ],
    [
      'the generation',
      (state) => {
        state.generation = 1
      },
    ],
  ])('tells %s', (_, damage) => {
    const state = made()
    damage(state)
    expect(hashOfState(state)).not.toBe(hashOfState(made()))
  })

  it('is that of the state, whatever was there before', () => {
    const state = made()
    const { resources } = state
    const before = hashOfState(state)
    const found = resources.get({ kind: 'topic', tenant: 't', name: 'x' })!
    resources.put({ ...found, value: 'other' })
    resources.put({ ...found, name: 'z' })
    resources.delete({ ...found, name: 'z' })
    resources.put(found)
    expect(hashOfState(state)).toBe(before)
  })
})

describe('Digest', () => {
  it('does not mix up entries that are alike', () => {
    const texts = new Set<string>()
    const names = Array.from({ length: 30_000 }, (_, at) => `topic t ${at} ${at % 7}`)
    for (const name of names) {
      const digest = new Digest()
      digest.add(name)
      texts.add(digest.text)
    }
    expect(texts.size).toBe(names.length)
  })
})
