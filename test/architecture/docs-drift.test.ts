import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { SETTINGS, type SettingSchema } from '@robust/proto'
import { describe, expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')

function source(...folders: string[]): string {
  const files = folders.flatMap((folder) => {
    const src = resolve(ROOT, folder, 'src')
    return readdirSync(src, { recursive: true, encoding: 'utf8' }).map((file) => join(src, file))
  })
  return files
    .filter((file) => file.endsWith('.ts') && !/\.test\.ts$|\/testing\//.test(file))
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n')
}

function found(text: string, pattern: RegExp): string[] {
  return [...new Set([...text.matchAll(pattern)].map((match) => match[1] as string))].sort()
}

const errors = readFileSync(resolve(ROOT, 'docs/errors.md'), 'utf8')
const [inLogs = '', onStderr = ''] = errors.split('## On stderr')

describe('docs/errors.md', () => {
  test('lists the ids of the log, and no others', () => {
    const code = source('broker', 'placement', 'storage-adapters', 'raft', 'cli')
    const ids = found(code, /errId: '([A-Z_]+)'/g)
    expect(ids.length).toBeGreaterThan(10)
    expect(found(inLogs, /^\| `([A-Z_]+)`/gm)).toEqual(ids)
  })

  test('lists the ids on stderr, and no others', () => {
    const code = source('broker', 'placement', 'storage-adapters', 'cli')
    const ids = [
      ...found(code, /error\[([A-Z_]+)\]/g),
      ...found(code, /CliError\(\s*'([A-Z_]+)'/g),
      ...found(code, /(?:fail|exit)\(\s*[^,()]+,\s*'([A-Z_]+)'/g),
      ...found(code, /isInUse \? '[A-Z_]+' : '([A-Z_]+)'/g),
    ]
    expect(found(onStderr, /^\| `([A-Z_]+)`/gm)).toEqual([...new Set(ids)].sort())
  })
})

describe('docs/failure-cases.md', () => {
  test('names tests that exist', () => {
    const cases = readFileSync(resolve(ROOT, 'docs/failure-cases.md'), 'utf8')
    const named = [...cases.matchAll(/\| `([^`]+\.test\.ts)`: (failure case \d+) \|$/gm)]
    expect(named.length).toBeGreaterThan(10)
    for (const [, file = '', name = ''] of named) {
      const text = readFileSync(resolve(ROOT, file), 'utf8')
      expect(text, `${file} has no ${name}`).toMatch(new RegExp(`'${name}\\b`))
    }
  })
})

describe('docs/settings.md', () => {
  test('lists every setting as the code has it, and no others', () => {
    const settings = readFileSync(resolve(ROOT, 'docs/settings.md'), 'utf8')
    const rows = settings.split('\n').filter((line) => line.startsWith('| `'))
    const expected = Object.entries(SETTINGS).map(([name, schema]: [string, SettingSchema]) => {
      const cells = [`\`${name}\``, String(schema.default ?? 'unset'), valuesOf(schema)]
      return `| ${[...cells, schema.unit ?? '', schema.role, schema.description].join(' | ')} |`
    })
    expect(rows).toEqual(expected)
  })
})

function valuesOf(schema: SettingSchema): string {
  if (schema.type === 'integer') return `${schema.min} to ${schema.max}`
  if (schema.type === 'text') return `up to ${schema.bytesMax} bytes`
  return schema.type === 'boolean' ? 'true, false' : schema.choices.join(', ')
}

describe('placement/README.md', () => {
  test('lists the events of the decision log, and no others', () => {
    const readme = readFileSync(resolve(ROOT, 'placement/README.md'), 'utf8')
    const table = readme.slice(readme.indexOf('| event |'), readme.indexOf('| exit code |'))
    const code = source('placement')
    const kinds = [
      ...found(code, /record\(\s*(?:place|\{[^}]*\}), '([A-Z][A-Za-z]+)'/g),
      ...found(code, /[rR]ecord\('([A-Z][A-Za-z]+)'/g),
      ...found(code, /#report\([^']*'([A-Z][A-Za-z]+)'/g),
      ...found(code, /kind: '([A-Z][A-Za-z]+)'/g),
    ]
    expect(kinds.length).toBeGreaterThan(20)
    expect(found(table, /^\| `([A-Za-z]+)`/gm)).toEqual([...new Set(kinds)].sort())
  })
})

describe('broker/src/protocols/mqtt/README.md', () => {
  test('names the limits of the code', () => {
    const readme = readFileSync(resolve(ROOT, 'broker/src/protocols/mqtt/README.md'), 'utf8')
    const limits = readFileSync(resolve(ROOT, 'broker/src/protocols/mqtt/limits.ts'), 'utf8')
    const limit = (name: string): number => {
      const text = new RegExp(`${name} = ([\\d_ *]+)`).exec(limits)?.[1] ?? '0'
      return text
        .split('*')
        .reduce((product, part) => product * Number(part.replaceAll('_', '')), 1)
    }
    expect(readme).toContain(`topic alias from clients (${limit('TOPIC_ALIAS_MAXIMUM')})`)
    expect(readme).toContain(`receive maximum (${limit('RECEIVE_MAXIMUM').toLocaleString('en')})`)
    const unsent = SETTINGS['limits.client-unsent-bytes'].default / 1024 ** 2
    const waiting = SETTINGS['limits.client-waiting-bytes'].default / 1024 ** 2
    expect(readme).toContain(`more than ${unsent} MiB unsent`)
    expect(readme).toContain(`up to ${waiting} MiB`)
  })
})
