import { describe, expect, test } from 'vitest'
import { ResourceCache } from './resource-cache.ts'

function topic(name: string, version: number, tenant = '') {
  return { kind: 'topic', tenant, name, created: 1, version, value: `"${version}"` }
}

function observed(cache: ResourceCache): string[] {
  const told: string[] = []
  cache.observe('topic', ({ name }, now) => told.push(`${name} ${now?.version ?? 'gone'}`))
  return told
}

function names(cache: ResourceCache): string[] {
  return [...cache.list('topic')].map(({ name }) => name).sort()
}

describe('ResourceCache', () => {
  test('tells each change once, of the kind that is observed', () => {
    const cache = new ResourceCache()
    const told = observed(cache)
    cache.apply([topic('a', 1), { ...topic('q', 1), kind: 'queue' }], [])
    cache.apply([topic('a', 1)], [])
    cache.apply([topic('a', 2)], [])
    cache.apply([], [topic('a', 0), topic('never', 0)])
    expect(told).toEqual(['a 1', 'a 2', 'a gone'])
  })

  test('tells nobody who has stopped to listen', () => {
    const cache = new ResourceCache()
    const told: string[] = []
    const stop = cache.observe('topic', ({ name }) => told.push(name))
    cache.apply([topic('a', 1)], [])
    stop()
    cache.apply([topic('b', 2)], [])
    expect(told).toEqual(['a'])
  })

  test('keeps tenants apart', () => {
    const cache = new ResourceCache()
    cache.apply([topic('a', 1), topic('a', 2, 't')], [])
    expect(cache.get('topic', 't', 'a')?.version).toBe(2)
    expect([...cache.list('topic', 't')].map(({ version }) => version)).toEqual([2])
    expect([...cache.list('topic')]).toHaveLength(2)
  })

  test('a load takes away what it does not name, at its end and not before', () => {
    const cache = new ResourceCache()
    cache.apply([topic('kept', 1), topic('gone', 2), topic('changed', 3)], [])
    const told = observed(cache)
    cache.beginLoad()
    cache.page({ resources: [topic('kept', 1)], last: false })
    expect(names(cache)).toEqual(['changed', 'gone', 'kept'])
    cache.apply([topic('new', 9)], [])
    cache.page({ resources: [topic('changed', 4)], last: true })
    expect(names(cache)).toEqual(['changed', 'kept', 'new'])
    expect(told).toEqual(['new 9', 'changed 4', 'gone gone'])
    expect(cache.isLoading).toBe(false)
  })

  test('what is deleted after its page stays deleted', () => {
    const cache = new ResourceCache()
    cache.beginLoad()
    cache.page({ resources: [topic('a', 1)], last: false })
    cache.apply([], [topic('a', 1)])
    cache.page({ resources: [], last: true })
    expect(names(cache)).toEqual([])
  })

  test('a load that broke off is begun again from nothing', () => {
    const cache = new ResourceCache()
    cache.apply([topic('old', 1)], [])
    cache.beginLoad()
    cache.page({ resources: [topic('a', 2), topic('old', 1)], last: false })
    cache.beginLoad()
    cache.page({ resources: [topic('b', 3)], last: true })
    expect(names(cache)).toEqual(['b'])
  })
})
