// The lint rules that the house rests on are awake: the promise rules (young, and blind when a
// workspace's types cannot be found), the globals that pure folders are denied, and the house style.

import { execFile } from 'node:child_process'
import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CanaryTree, plantCanaries, ROOT } from './canary-tree.ts'

const BIOME = join(ROOT, 'node_modules/@biomejs/biome/bin/biome')
const DENIED_GLOBALS_MIN = 7

/** Reports as `file:line rule`. */
async function lint(cwd: string): Promise<string[]> {
  const args = [BIOME, 'lint', '--reporter=github', '--max-diagnostics=none', '.']
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, args, { cwd }, (_error, stdout) => resolve(stdout))
  })
  return [...output.matchAll(/title=[\w/]*\/(\w+),file=([^,]+),line=(\d+)/g)].map(
    ([, rule, file, line]) => `${file?.replace(`${cwd}/`, '')}:${line} ${rule}`,
  )
}

function expectedReports(files: ReadonlyMap<string, string>): string[] {
  const expected: string[] = []
  for (const [file, text] of files) {
    for (const [index, line] of text.split('\n').entries()) {
      const rules = / \/\/ reported: (.+)$/.exec(line)?.[1] ?? ''
      for (const rule of rules.split(' ').filter((name) => name !== '')) {
        expected.push(`${file}:${index + 1} ${rule}`)
      }
    }
  }
  return expected
}

describe('lint canaries', () => {
  let tree: CanaryTree
  let reported: string[]
  let expected: string[]

  beforeAll(async () => {
    tree = await plantCanaries('biome')
    await cp(join(ROOT, 'biome.json'), join(tree.path, 'biome.json'))
    await writeFile(join(tree.path, '.gitignore'), 'node_modules/\n')
    reported = await lint(tree.path)
    expected = expectedReports(tree.files)
  })

  afterAll(() => tree.remove())

  it('report the five promises that nobody waits for', () => {
    const promises = expected.filter((line) => line.endsWith('Promises'))
    expect(promises).toHaveLength(5)
    expect(reported).toEqual(expect.arrayContaining(promises))
  })

  it.each([
    'broker/src/core/globals.ts',
    'broker/src/functions/globals.ts',
    'broker/src/protocols/mqtt/session.ts',
    'broker/src/protocols/mqtt/codec/globals.ts',
    'raft/src/core/globals.ts',
    'placement/src/metadata/globals.ts',
  ])('report each denied global in %s', (file) => {
    const denied = expected.filter((line) => line.startsWith(`${file}:`))
    expect(denied.length).toBeGreaterThanOrEqual(DENIED_GLOBALS_MIN)
    expect(reported).toEqual(expect.arrayContaining(denied))
  })

  it('report every planted line and no other', () => {
    expect([...new Set(reported)].sort()).toEqual([...new Set(expected)].sort())
  })
})
