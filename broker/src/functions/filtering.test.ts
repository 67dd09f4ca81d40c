import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compileSelector, compileTags, type SelectorValue, Untyped } from './filtering.ts'
import { SelectorError } from './selector-lexer.ts'

function matches(source: string, properties: Record<string, SelectorValue> = {}): boolean {
  return compileSelector(source)((name) => properties[name])
}

const car = { colour: 'blue', weight: 2_500, isNew: true, rate: 0.5, name: "O'Hara", 'a.b': 1 }

describe('selectors', () => {
  test.each([
    '',
    "colour = 'blue'",
    "colour <> 'red' AND weight > 2000",
    'weight BETWEEN 2500 AND 2500',
    'weight NOT BETWEEN 1 AND 2',
    "colour IN ('red', 'blue')",
    "colour NOT IN ('red')",
    "colour LIKE 'b_u%'",
    "colour NOT LIKE 'r%'",
    "name = 'O''Hara'",
    'missing IS NULL AND colour IS NOT NULL',
    'isNew',
    'isNew = TRUE and not (weight < 0 or rate >= 1)',
    'weight + 500 = 3000 AND weight / 2 = 1250 AND -weight = 0 - 2500 AND 2 * (1 + 1) = 4',
    'weight = 0x9C4 AND rate = 5e-1 AND weight = 2500L AND rate = .5',
    '"a.b" = 1 AND a.b = 1',
    'missing > 1 OR TRUE',
    "'100%' LIKE '100!%' ESCAPE '!'",
  ])('match: %s', (source) => {
    expect(matches(source, car)).toBe(true)
  })

  test.each([
    'missing = 1',
    'NOT missing = 1',
    "missing LIKE '%'",
    'missing BETWEEN 1 AND 2',
    "missing IN ('a')",
    "weight = '2500'",
    'colour = 2500',
    "colour > 'a'",
    'colour',
    'missing > 1 AND TRUE',
    "'100x' LIKE '100!%' ESCAPE '!'",
    "weight LIKE '2%'",
    'weight / 0 = 1',
  ])('do not match: %s', (source) => {
    expect(matches(source, car)).toBe(false)
  })

  test('texts without a type stand for what they are compared with', () => {
    const texts = { n: new Untyped('5'), yes: new Untyped('TRUE'), word: new Untyped('red') }
    expect(matches("n > 4 AND n = '5' AND yes AND yes = TRUE AND word = 'red'", texts)).toBe(true)
    expect(matches('word > 4', texts)).toBe(false)
    expect(matches("word LIKE 'r%' AND n + 1 = 6", texts)).toBe(true)
  })

  test.each([
    'colour =',
    '= 1',
    "colour = 'open",
    'colour LIKE 1',
    'a IN ()',
    'a IN (b)',
    'a BETWEEN 1',
    '(a = 1',
    'a = 1)',
    'a NOT 1',
    'a IS 1',
    "a LIKE 'x' ESCAPE 'yy'",
    'a # b',
    `${'('.repeat(70)}a${')'.repeat(70)}`,
    `a = '${'x'.repeat(5_000)}'`,
    `a IN (${Array.from({ length: 300 }, (_, at) => at).join(',')})`,
    'NOT '.repeat(100),
  ])('are refused with a place: %s', (source) => {
    expect(() => compileSelector(source)).toThrow(SelectorError)
  })

  test('whatever the text, it is compiled or refused', () => {
    const words = fc.constantFrom(
      'a',
      '1',
      "'x'",
      '=',
      '(',
      ')',
      'AND',
      'OR',
      'NOT',
      'IN',
      'LIKE',
      '%',
      '-',
      ',',
      'IS',
      'NULL',
      'BETWEEN',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(words).map((all) => all.join(' ')),
        ),
        (source) => {
          try {
            compileSelector(source)(() => new Untyped('1'))
          } catch (error) {
            expect(error).toBeInstanceOf(SelectorError)
          }
        },
      ),
      { numRuns: 2_000 },
    )
  })

  test('a hostile pattern takes no longer than the product of the lengths', () => {
    const text = 'a'.repeat(3_000)
    const hostile = compileSelector(`t LIKE '${'%a'.repeat(900)}%b'`)
    expect(hostile(() => text)).toBe(false)
  })
})

describe('tags', () => {
  test('any of a list, or all', () => {
    expect(compileTags('a || b')('b')).toBe(true)
    expect(compileTags('a||b')('c')).toBe(false)
    expect(compileTags('a')(undefined)).toBe(false)
    for (const all of ['*', '', ' ']) expect(compileTags(all)(undefined)).toBe(true)
  })
})
