// docs/sqs.md says what the code does: actions, attributes, limits and errors are compared with it.

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ATTRIBUTE_NAMES } from './attributes.ts'
import { ERRORS } from './errors.ts'
import * as limits from './limits.ts'
import { ACTIONS } from './packets.ts'

const docs = readFileSync(resolve(import.meta.dirname, '../../../../docs/sqs.md'), 'utf8')

function rows(title: string): string[][] {
  const section = docs.split(`\n## ${title}\n`)[1]?.split('\n## ')[0] ?? ''
  const lines = section.split('\n').filter((line) => line.startsWith('| ') && !/^\| -/.test(line))
  return lines.slice(1).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

const quoted = (names: Iterable<string>) => [...names].map((name) => `\`${name}\``)

describe('docs/sqs.md', () => {
  test('lists every action, and no others', () => {
    expect(rows('Actions').map(([name]) => name)).toEqual(quoted(Object.keys(ACTIONS)))
  })

  test('lists every attribute of a queue, and no others', () => {
    expect(rows('Attributes of queues').map(([name]) => name)).toEqual(
      quoted([...ATTRIBUTE_NAMES].sort()),
    )
  })

  test('has the limits of the code', () => {
    const told = rows('Limits').map(([, value]) => value)
    expect(told).toHaveLength(Object.keys(limits).length)
    expect([...told].sort()).toEqual(
      Object.entries(limits)
        .map(([name, value]) => `\`${name}\` ${value}`)
        .sort(),
    )
  })

  test('lists every error with its code and status, and no others', () => {
    expect(rows('Errors')).toEqual(
      Object.entries(ERRORS).map(([name, { code, status }]) => [
        ...quoted([name, code]),
        String(status),
      ]),
    )
  })
})
