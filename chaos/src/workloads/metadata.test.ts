import { describe, expect, test } from 'vitest'
import type { VersionedInput, VersionedOutput } from '../checkers/linearizability/versioned.ts'
import { judgeMetadata, type Resources } from './metadata.ts'

type Done = Resources[number]

let atMs = 0

const done = (input: VersionedInput, output: VersionedOutput, key = 'k'): Done => ({
  ...{ client: 'c', key, input, output, outcome: 'ok', invokedMs: ++atMs, completedMs: ++atMs },
})
const lost = (input: VersionedInput): Done => ({
  ...{ client: 'd', key: 'k', input, outcome: 'unknown', invokedMs: ++atMs },
  ...{ output: undefined, completedMs: undefined },
})
const put = (expected: number, value: string) => ({ kind: 'put', expected, value }) as const
const read = { kind: 'read' } as const
const found = (value: string, version: number) => ({ kind: 'found', value, version }) as const
const judge = (history: Resources) => judgeMetadata(history, { seen: [], stuck: [] })
const kinds = (history: Resources) => judge(history).findings.map(({ kind }) => kind)

describe('the checker of metadata', () => {
  const made = [done(put(0, '1'), { kind: 'put', version: 5 })]

  test('finds nothing in what one copy could have done, also when an answer was lost', () => {
    const changed = [...made, lost(put(5, '2')), done(read, found('2', 7)), lost(read)]
    const verdict = judge([...changed, done({ kind: 'delete', expected: 7 }, { kind: 'deleted' })])
    expect(verdict.findings).toEqual([])
    expect(verdict).toMatchObject({ acknowledged: 3, unknown: 1 })
  })

  test('finds a change that was acknowledged and is not read', () => {
    const changed = [...made, done(put(5, '2'), { kind: 'put', version: 6 })]
    expect(kinds([...changed, done(read, found('1', 5))])).toEqual(['not linearizable'])
  })

  test('finds two changes of one version', () => {
    const twice = [
      done(put(5, '2'), { kind: 'put', version: 6 }),
      done(put(5, '3'), { kind: 'put', version: 7 }),
    ]
    expect(kinds([...made, ...twice])).toEqual(['not linearizable'])
  })

  test('finds a topic that was deleted and is there, and a value that nobody wrote', () => {
    const gone = [...made, done({ kind: 'delete', expected: 5 }, { kind: 'deleted' })]
    expect(kinds([...gone, done(read, found('1', 5))])).toEqual(['not linearizable'])
    expect(kinds([...made, done(read, found('9', 6))])).toEqual(['not linearizable'])
  })

  test('judges each name by itself, and says of what it found', () => {
    const bad = [done(read, found('9', 6), 'other')]
    const { findings } = judge([...made, ...bad])
    expect(findings).toHaveLength(1)
    expect(findings[0]?.what).toContain('other')
  })

  test('says who is stuck, and who owned what twice', () => {
    const seen = ['a', 'b'].map((owner) => ({
      ...{ node: 'p', shard: 1, epoch: 2, index: 3 },
      owner,
    }))
    const { findings } = judgeMetadata(made, { seen, stuck: ['c'] })
    expect(findings.map(({ kind }) => kind)).toEqual(['two owners', 'stuck'])
  })
})
