import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FilterIndex, filterMatches } from './filter-index.ts'

const level = fc.constantFrom('a', 'b', 'c', '', '$x')
const address = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
const filterLevel = fc.constantFrom('a', 'b', 'c', '', '+', '$x')
const filter = fc
  .tuple(fc.array(filterLevel, { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, rest]) => [...levels, ...(rest ? ['#'] : [])].join('/'))

function matches(index: FilterIndex<string>, wanted: string): string[] {
  const found: string[] = []
  index.match(wanted, (value) => found.push(value))
  return found.sort()
}

describe('filterMatches', () => {
  test.each([
    ['a/b', 'a/b', true],
    ['a/+', 'a/b', true],
    ['a/+', 'a/b/c', false],
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['#', 'a/b', true],
    ['+/+', '/a', true],
    ['+', '/a', false],
    ['#', '$SYS/a', false],
    ['+/a', '$SYS/a', false],
    ['$SYS/#', '$SYS/a', true],
    ['a/+/#', 'a/b', true],
    ['a/+', 'a/', true],
  ])('%s against %s is %s [MQTT-4.7]', (wanted, given, expected) => {
    expect(filterMatches(wanted, given)).toBe(expected)
  })
})

describe('FilterIndex', () => {
  test('match finds what filterMatches says, through adds and removes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(filter, fc.nat(5), fc.boolean()), { maxLength: 60 }),
        fc.array(address, { minLength: 1, maxLength: 10 }),
        (steps, addresses) => {
          const index = new FilterIndex<string>((value) => value.split(' ')[1] ?? '')
          const model = new Map<string, string>()
          for (const [wanted, key, add] of steps) {
            const entry = `${wanted} ${key}`
            if (add) index.add(wanted, entry)
            else index.remove(wanted, String(key))
            if (add) model.set(entry, wanted)
            else model.delete(entry)
          }
          expect(index.size).toBe(model.size)
          expect(index.filters().sort()).toEqual([...new Set(model.values())].sort())
          for (const [wanted, key] of steps) {
            const entry = `${wanted} ${key}`
            expect(index.get(wanted, String(key))).toBe(model.has(entry) ? entry : undefined)
          }
          for (const given of addresses) {
            const expected = [...model].filter(([, wanted]) => filterMatches(wanted, given))
            expect(matches(index, given)).toEqual(expected.map(([entry]) => entry).sort())
          }
        },
      ),
    )
  })

  test('filters and addresses of as many levels as a topic may have are found', () => {
    const index = new FilterIndex<string>((value) => value)
    const deep = '/'.repeat(65_000)
    for (const filter of [`${deep}a`, `${deep}b`, `+${deep}+`, `${deep}c/#`])
      index.add(filter, filter)
    expect(matches(index, `${deep}a`)).toEqual([`+${deep}+`, `${deep}a`].sort())
    expect(index.filters().sort()).toEqual(
      [`${deep}a`, `${deep}b`, `+${deep}+`, `${deep}c/#`].sort(),
    )
    expect(index.remove(`${deep}a`, `${deep}a`)).toBe('last')
    expect(matches(index, `${deep}c`)).toEqual([`+${deep}+`, `${deep}c/#`].sort())
  })

  test('add tells the first key of a filter and remove the last', () => {
    const index = new FilterIndex<[key: string, value: number]>(([key]) => key)
    expect(index.add('a/+', ['x', 1])).toBe('first')
    expect(index.add('a/+', ['y', 2])).toBe('added')
    expect(index.add('a/+', ['y', 3])).toBe('replaced')
    expect(index.get('a/+', 'y')).toEqual(['y', 3])
    expect(index.remove('a/+', 'x')).toBe('removed')
    expect(index.remove('a/+', 'x')).toBe('absent')
    expect(index.remove('a/+', 'y')).toBe('last')
    expect(index.size).toBe(0)
  })
})
