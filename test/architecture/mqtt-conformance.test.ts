import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const MQTT = resolve(ROOT, 'broker/src/protocols/mqtt')
const doc = readFileSync(resolve(ROOT, 'docs/mqtt-conformance.md'), 'utf8')
const rows = doc
  .split('\n')
  .filter((line) => line.startsWith('| '))
  .map((line) => line.split(' | ').map((cell) => cell.replaceAll('|', '').trim()))

/** The highest number of each section of the specification; they count from 1. */
const STATEMENTS = {
  '3.1.1': `1.5.3-3 2.2.2-2 2.3.1-7 3.1.0-2 3.1.2-24 3.1.3-11 3.1.4-5 3.2.0-1 3.2.2-6 3.3.1-12 3.3.2-3
    3.3.4-1 3.3.5-2 3.6.1-1 3.8.1-1 3.8.3-4 3.8.4-6 3.9.3-2 3.10.1-1 3.10.3-2 3.10.4-6 3.12.4-1
    3.14.1-1 3.14.4-3 4.1.0-2 4.2.0-1 4.3.1-1 4.3.2-2 4.3.3-2 4.4.0-1 4.5.0-2 4.6.0-6 4.7.1-3
    4.7.2-1 4.7.3-4 4.8.0-2 6.0.0-4 7.0.0-2 7.1.1-1 7.1.2-1`,
  '5.0': `1.5.4-3 1.5.5-1 1.5.7-1 2.1.3-1 2.2.1-6 2.2.2-1 3.1.0-2 3.1.2-30 3.1.3-12 3.1.4-6 3.2.0-2
    3.2.2-22 3.3.1-13 3.3.2-20 3.3.4-10 3.4.2-3 3.5.2-3 3.6.1-1 3.6.2-3 3.7.2-3 3.8.1-1 3.8.3-5
    3.8.4-8 3.9.2-2 3.9.3-2 3.10.1-1 3.10.3-2 3.10.4-6 3.11.2-2 3.11.3-2 3.12.4-1 3.14.0-1 3.14.1-1
    3.14.2-4 3.14.4-3 3.15.1-1 3.15.2-3 4.1.0-2 4.2-1 4.3.1-1 4.3.2-5 4.3.3-13 4.4.0-2 4.5.0-2
    4.6.0-6 4.7.0-1 4.7.1-2 4.7.2-1 4.7.3-4 4.8.2-6 4.9.0-3 4.12.0-7 4.12.1-2 4.13.1-1 4.13.2-1
    6.0.0-4`,
}

function every(highest: string): string[] {
  return highest.split(/\s+/).flatMap((last) => {
    const [section, count] = last.split('-')
    return Array.from({ length: Number(count) }, (_, i) => `${section}-${i + 1}`)
  })
}

function numbersIn(text: string): string[] {
  return text.match(/\b\d+\.\d+(\.\d+)?-\d+\b/g) ?? []
}

describe('docs/mqtt-conformance.md', () => {
  test.each(['3.1.1', '5.0'] as const)(
    'leaves out no statement of %s, and has no other',
    (version) => {
      const column = version === '3.1.1' ? 0 : 1
      const proved = rows.flatMap((cells) => numbersIn(cells[column] ?? ''))
      const forClients =
        new RegExp(`^${version.replaceAll('.', '\\.')}: (.*)$`, 'm').exec(doc)?.[1] ?? ''
      const named = new Set([...proved, ...numbersIn(forClients)])
      // The one gap in the specification.
      const expected = every(STATEMENTS[version]).filter((number) => number !== '2.2.1-1')
      expect(expected.length).toBeGreaterThan(100)
      expect([...named].toSorted()).toEqual(expected.toSorted())
    },
  )

  test('names tests that exist', () => {
    const named = [...doc.matchAll(/`([^`]+\.ts)`: (.+?)(?=<br>| \|)/g)]
    expect(named.length).toBeGreaterThan(150)
    for (const [, file = '', name = ''] of named) {
      const path = resolve(MQTT, file)
      expect(existsSync(path), file).toBe(true)
      const text = readFileSync(path, 'utf8')
      const isThere = [`'${name}'`, `"${name}"`].some((literal) => text.includes(literal))
      expect(isThere, `${file} has no ${name}`).toBe(true)
    }
  })

  test('has a test in every row of a statement', () => {
    const statements = rows.filter((cells) => numbersIn(`${cells[0]} ${cells[1]}`).length > 0)
    expect(statements.length).toBeGreaterThan(90)
    for (const cells of statements) expect(cells.at(-1)).toMatch(/^`[^`]+\.ts`: ./)
  })
})
