// The compose files say what the programs understand: roles, flags and names. What Docker makes of them is tested in
// test/containers.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { ROOT } from './canary-tree.ts'

interface Service {
  readonly image: string
  readonly command: readonly string[]
  readonly volumes?: readonly string[]
  readonly stop_grace_period?: string
}

interface Composition {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, null>>
}

const FOLDER = join(ROOT, 'compose')
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith('.yaml'))
const usages = new Map<string, string>()

function usageOf(role: string): string {
  const known = usages.get(role)
  if (known !== undefined) return known
  const main = join(ROOT, 'cli/src/main.ts')
  const node = ['--conditions=source', '--import', 'tsx', main, role, 'start', '--help']
  const text = execFileSync(process.execPath, node, { cwd: ROOT, encoding: 'utf8' })
  usages.set(role, text)
  return text
}

describe.each(FILES)('compose/%s', (file) => {
  const { services, volumes } = parse(readFileSync(join(FOLDER, file), 'utf8')) as Composition
  const ours = Object.entries(services).filter(([, { image }]) => image.includes('robust'))

  test('starts roles with flags that they have', () => {
    for (const [, { command }] of ours) {
      const [role = '', verb, ...flags] = command
      expect(verb).toBe('start')
      const names = flags.filter((flag) => flag.startsWith('--')).map((flag) => flag.split('=')[0])
      const usage = usageOf(role)
      expect(names.filter((name) => !new RegExp(`${name}\\b`).test(usage))).toEqual([])
    }
  })

  test('keeps every node in a volume of its own, and lets it stop in order', () => {
    const kept = Object.values(services).map((service) => service.volumes?.[0]?.split(':')[0])
    expect(new Set(kept).size).toBe(kept.length)
    expect(kept.filter((name) => name === undefined || !(name in volumes))).toEqual([])
    expect(ours.filter(([, service]) => service.stop_grace_period === undefined)).toEqual([])
  })

  test('names nodes as their services, so that they find each other', () => {
    for (const [name, { command }] of ours) {
      const told = command.find((flag) => flag.startsWith('--node-id='))
      if (told !== undefined) expect(told).toBe(`--node-id=${name}`)
      const peers = command.find((flag) => flag.startsWith('--peers='))?.slice('--peers='.length)
      for (const peer of peers?.split(',') ?? []) {
        expect(services).toHaveProperty(peer.split('=')[0] ?? '')
      }
    }
  })
})
