// The import rules hold for the tree, and each rule is awake: it reports the canary that breaks it.

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CanaryTree, CODE_FOLDERS, plantCanaries, ROOT } from './canary-tree.ts'

const MODULES_MIN = 150
const CONFIG = join(ROOT, '.dependency-cruiser.mjs')
const CRUISER = join(ROOT, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs')
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024
const CRUISE_TIMEOUT_MS = 60_000

interface Violation {
  readonly from: string
  readonly to: string
  readonly rule: { readonly name: string }
}

interface Cruise {
  readonly modules: readonly { readonly source: string }[]
  readonly summary: { readonly violations: readonly Violation[] }
}

interface Configuration {
  readonly default: { readonly forbidden: readonly { readonly name: string }[] }
}

const configuration = (await import(pathToFileURL(CONFIG).href)) as Configuration
const rules = configuration.default.forbidden.map(({ name }) => name)

function cruise(cwd: string, folders: readonly string[]): Promise<Cruise> {
  const args = [CRUISER, '--config', CONFIG, '--output-type', 'json', ...folders]
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { cwd, maxBuffer: OUTPUT_BYTES_MAX }, (error, stdout) => {
      if (stdout === '') reject(error ?? new Error('dependency-cruiser printed nothing'))
      else resolve(JSON.parse(stdout) as Cruise)
    })
  })
}

function isOurs(source: string): boolean {
  return CODE_FOLDERS.some((folder) => source.startsWith(`${folder}/`))
}

describe('import rules', () => {
  it(
    'hold for every file of the tree',
    async () => {
      const { modules, summary } = await cruise(ROOT, CODE_FOLDERS)
      const found = summary.violations.map(({ from, to, rule }) => `${rule.name}: ${from} -> ${to}`)
      expect(found).toEqual([])
      expect(modules.filter(({ source }) => isOurs(source)).length).toBeGreaterThan(MODULES_MIN)
    },
    CRUISE_TIMEOUT_MS,
  )
})

describe('import rule canaries', () => {
  let tree: CanaryTree
  let reported: Map<string, Set<string>>
  let planted: Map<string, string>

  beforeAll(async () => {
    tree = await plantCanaries('boundaries')
    const { summary } = await cruise(tree.path, ['.'])
    reported = new Map()
    for (const { from, rule } of summary.violations) {
      reported.set(from, (reported.get(from) ?? new Set()).add(rule.name))
    }
    planted = new Map()
    for (const [file, text] of tree.files) {
      const rule = /^\/\/ breaks: (\S+)\n/.exec(text)?.[1]
      if (rule !== undefined) planted.set(file, rule)
    }
  }, CRUISE_TIMEOUT_MS)

  afterAll(() => tree.remove())

  it.each(rules)('%s is reported for its canary', (rule) => {
    const canaries = [...planted].filter(([, broken]) => broken === rule).map(([file]) => file)
    expect(canaries).not.toEqual([])
    for (const file of canaries) expect([file, ...(reported.get(file) ?? [])]).toEqual([file, rule])
  })

  it('are the only files that are reported', () => {
    expect([...reported.keys()].sort()).toEqual([...planted.keys()].sort())
    for (const rule of planted.values()) expect(rules).toContain(rule)
  })
})
