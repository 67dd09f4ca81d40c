// docs/kafka.md says what the code does: APIs, settings and limits are compared with it.

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { TOPIC_CONFIGS } from './configs.ts'
import * as limits from './limits.ts'
import { APIS } from './packets.ts'

const docs = readFileSync(resolve(import.meta.dirname, '../../../../docs/kafka.md'), 'utf8')

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

describe('docs/kafka.md', () => {
  test('lists every API with its versions, and no others', () => {
    const spoken = [...APIS].sort((one, other) => one.key - other.key)
    expect(rows('APIs').map((cells) => cells.slice(0, 3))).toEqual(
      spoken.map(({ name, key, versions }) => [`\`${name}\``, String(key), versions.join('-')]),
    )
  })

  test('lists every setting of a topic with what it is here, and no others', () => {
    expect(rows('Topics')).toEqual(
      Object.entries(TOPIC_CONFIGS).flatMap(([name, config]) =>
        'setting' in config ? [[`\`${name}\``, `\`${config.setting}\``]] : [],
      ),
    )
  })

  test('has the limits of the code', () => {
    const told = rows('Limits').map(([, value]) => value)
    expect([...told].sort()).toEqual(
      Object.entries(limits)
        .map(([name, value]) => `\`${name}\` ${value}`)
        .sort(),
    )
  })
})
