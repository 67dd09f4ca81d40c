import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createStateStore } from './cluster/state.ts'
import { planCluster } from './commands/cluster-plan.ts'
import { run, VERSION } from './program.ts'

let home = ''

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'robust-cli-'))
})

afterEach(() => rmSync(home, { recursive: true, force: true }))

async function robust(...args: string[]) {
  const shown = { stdout: '', stderr: '' }
  const exit = await run(args, {
    home,
    stdout: (text) => {
      shown.stdout += text
    },
    stderr: (text) => {
      shown.stderr += text
    },
    isTerminal: { stdout: false, stderr: false },
    noColour: true,
    ci: false,
    command: 'npx robust',
    signal: new AbortController().signal,
    exit: () => undefined,
  })
  return { exit, ...shown }
}

/** A cluster that is known and does not run, at ports where nobody answers. */
function knownCluster(name = 'local'): void {
  const store = createStateStore(home)
  const asked = { nodes: 1, portOffset: 50_000 }
  store.write(planCluster(asked, { name, folder: store.folder(name), known: undefined }).state)
}

describe('run', () => {
  test('--version and --help are data and exit 0', async () => {
    expect(await robust('--version')).toEqual({ exit: 0, stdout: `${VERSION}\n`, stderr: '' })
    const help = await robust('cluster', 'up', '--help')
    expect(help).toMatchObject({ exit: 0, stderr: '' })
    expect(help.stdout).toContain('--port-offset')
  })

  test.each([
    [['cluster', 'statsu'], 'did you mean status?'],
    [['cluster', 'status', '--nonsense'], 'unknown option'],
    [['cluster', 'up', '--nodes', '0'], 'from 1 to 50'],
    [['cluster', 'kill'], 'missing required argument'],
    [['cluster'], 'a command is missing'],
    [['cluster', 'status', '--name', '../x'], '--name'],
  ])('%j is a usage error', async (args, text) => {
    const { exit, stdout, stderr } = await robust(...args)
    expect({ exit, stdout }).toEqual({ exit: 64, stdout: '' })
    expect(stderr).toContain('error[USAGE] ')
    expect(stderr).toContain(text)
  })

  test('a cluster that does not exist exits 66, and the hint is the command as it was called', async () => {
    expect(await robust('cluster', 'status')).toEqual({
      exit: 66,
      stdout: '',
      stderr:
        'error[NO_SUCH_CLUSTER] there is no cluster local\n' +
        'cause: there is none on this machine\n' +
        'try: npx robust cluster up --nodes 3\n',
    })
  })

  test('with -o json an error is JSON on stderr', async () => {
    const { exit, stderr } = await robust('cluster', 'status', '-o', 'json')
    expect(exit).toBe(66)
    expect(JSON.parse(stderr).error).toMatchObject({ id: 'NO_SUCH_CLUSTER', exit: 66 })
  })

  test('status of a cluster that is down exits 2 and says what is stopped', async () => {
    knownCluster()
    const table = await robust('cluster', 'status')
    expect(table.exit).toBe(2)
    expect(table.stdout).toContain('broker-1 is stopped')
    const json = await robust('cluster', 'status', '-o', 'json')
    expect(JSON.parse(json.stdout)).toMatchObject({ health: 'critical', name: 'local' })
  })

  test.each([
    [['kill', 'broker-1'], 1, 'NODE_NOT_RUNNING'],
    [['kill', 'broker-9'], 66, 'NO_SUCH_NODE'],
    [['kill', 'leader'], 75, 'NO_LEADER'],
    [['kill', 'broker-1', '--signal', 'x'], 64, 'USAGE'],
    [['events'], 69, 'UNREACHABLE'],
    [['drain', 'broker-1'], 69, 'UNREACHABLE'],
    [['drain', 'storage-1'], 64, 'USAGE'],
    [['up', '--shards', '8'], 73, 'CLUSTER_EXISTS'],
  ])('%j of a cluster that is down exits %d with %s', async (args, exit, id) => {
    knownCluster()
    const result = await robust('cluster', ...args)
    expect(result.stderr).toContain(`error[${id}] `)
    expect(result.exit).toBe(exit)
  })

  test('down --purge of a cluster that is down leaves no file', async () => {
    knownCluster()
    const store = createStateStore(home)
    store.select('local')
    expect((await robust('cluster', 'down', '--purge')).exit).toBe(0)
    expect(store.list()).toEqual([])
    expect((await robust('cluster', 'status')).exit).toBe(66)
  })

  test('list names the clusters and which is current', async () => {
    knownCluster('one')
    knownCluster('two')
    createStateStore(home).select('two')
    const { stdout } = await robust('cluster', 'list', '-o', 'json')
    expect(JSON.parse(stdout)).toMatchObject([
      { name: 'one', current: false, running: 0, nodes: 3 },
      { name: 'two', current: true },
    ])
  })
})

describe('robust config', () => {
  test('describe tells what a setting means without asking anybody', async () => {
    const { exit, stdout } = await robust('config', 'describe', 'overload.shed-percent')
    expect(exit).toBe(0)
    expect(stdout).toContain('from 0 to 100')
    const json = await robust('config', 'describe', 'log.level', '-o', 'json')
    expect(JSON.parse(json.stdout)).toMatchObject({ name: 'log.level', type: 'choice' })
  })

  test.each([
    [['get', 'shed-percent'], 66, 'NO_SUCH_SETTING', 'overload.shed-percent'],
    [['set', 'rebalance.reports', '0'], 65, 'BAD_VALUE', 'from 1 to 1000'],
    [['set', 'rebalance.enabled', 'perhaps'], 65, 'BAD_VALUE', 'true or false'],
    [['set', 'log.level', 'info', '--expect-version', '-1'], 64, 'USAGE', 'whole number'],
    [['list', '--placement', 'nowhere'], 64, 'USAGE', 'HOST:PORT'],
    [['list'], 66, 'NO_SUCH_CLUSTER', 'no cluster'],
  ])('%j exits %i with %s', async (args, expected, id, said) => {
    const { exit, stderr } = await robust('config', ...args)
    expect(exit).toBe(expected)
    expect(stderr).toContain(`error[${id}]`)
    expect(stderr).toContain(said)
  })

  test('list says when nobody answers', async () => {
    knownCluster()
    const { exit, stderr } = await robust('config', 'list')
    expect(exit).toBe(69)
    expect(stderr).toContain('error[UNREACHABLE]')
  })
})
