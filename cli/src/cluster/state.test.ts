import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { planCluster } from '../commands/cluster-plan.ts'
import { lockCluster } from './lock.ts'
import { createStateStore, withNode } from './state.ts'

let home = ''

beforeEach(() => {
  home = join(mkdtempSync(join(tmpdir(), 'robust-cli-')), 'home')
})

afterEach(() => {
  rmSync(join(home, '..'), { recursive: true, force: true })
})

function stateOf(name: string) {
  const folder = join(home, 'clusters', name)
  return planCluster({}, { name, folder, known: undefined }).state
}

describe('state store', () => {
  test('write and read give the same cluster, and leave no other file', () => {
    const store = createStateStore(home)
    const state = stateOf('local')
    store.write(state)
    expect(store.read('local')).toEqual(state)
    expect(readdirSync(store.folder('local'))).toEqual(['state.json'])
    expect(store.list()).toEqual(['local'])
  })

  test('read knows nothing of a cluster that is not there', () => {
    const store = createStateStore(home)
    expect(store.read('local')).toBeUndefined()
    expect(store.list()).toEqual([])
    expect(store.current).toBeUndefined()
  })

  test.each(['{"version":', '{"version":2,"nodes":[]}', '[]'])(
    'read refuses the file %s',
    (text) => {
      const store = createStateStore(home)
      mkdirSync(store.folder('local'), { recursive: true })
      writeFileSync(join(store.folder('local'), 'state.json'), text)
      expect(() => store.read('local')).toThrow('cannot be understood')
    },
  )

  test('select names the current cluster; after the last one nothing is left', () => {
    const store = createStateStore(home)
    store.write(stateOf('one'))
    store.select('one')
    expect(createStateStore(home).current).toBe('one')
    rmSync(store.folder('one'), { recursive: true })
    store.select(undefined)
    expect(existsSync(home)).toBe(false)
  })

  test('select leaves other clusters alone', () => {
    const store = createStateStore(home)
    store.write(stateOf('other'))
    store.select(undefined)
    expect(store.list()).toEqual(['other'])
  })

  test('withNode replaces the node of that name or adds it', () => {
    const state = stateOf('local')
    const broker = state.nodes.find(({ name }) => name === 'broker-2')!
    const started = withNode(state, { ...broker, pid: 7, startTime: '1' })
    expect(started.nodes).toHaveLength(state.nodes.length)
    expect(started.nodes.find(({ name }) => name === 'broker-2')?.pid).toBe(7)
    expect(withNode(state, { ...broker, name: 'broker-9' }).nodes).toHaveLength(8)
  })
})

describe('lockCluster', () => {
  test('lockCluster refuses a second command and lets it after the release', () => {
    const folder = join(home, 'clusters', 'local')
    const release = lockCluster(folder)
    expect(() => lockCluster(folder)).toThrow('another robust command')
    release()
    lockCluster(folder)()
    expect(existsSync(folder)).toBe(false)
  })

  test('lockCluster takes over the lock of a process that is gone', () => {
    const folder = join(home, 'clusters', 'local')
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: process.pid, startTime: '1@then' }))
    lockCluster(folder)()
  })
})
