import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { randomOffset, runRobust, startCluster, type TestCluster } from '../support/cluster.ts'
import { connect, mosquittoPub, mosquittoSub } from '../support/mqtt-clients.ts'

const ROBUST = resolve(import.meta.dirname, '../../cli/bin/robust.js')
const cleanups: (() => Promise<unknown> | unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

function temporaryHome(): string {
  const home = mkdtempSync(join(tmpdir(), 'robust-test-'))
  cleanups.push(() => rmSync(home, { recursive: true, force: true }))
  return home
}

async function cluster(...args: string[]): Promise<TestCluster> {
  const started = await startCluster(...args)
  cleanups.push(() => started.purge())
  return started
}

/** A process of ours in the foreground; ends with the test. */
function robust(home: string, ...args: string[]) {
  const env = { ...process.env, ROBUST_HOME: home, NO_COLOR: '1' }
  const child = spawn(process.execPath, [ROBUST, ...args], { env })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const exited = new Promise<number | null>((done) => child.on('exit', (code) => done(code)))
  cleanups.push(() => {
    child.kill('SIGKILL')
    return exited
  })
  return { child, exited, output: () => output }
}

function occupy(port: number): Promise<void> {
  return new Promise((done) => {
    const server = createServer()
    server.listen(port, '127.0.0.1', () => done())
    cleanups.push(() => new Promise((closed) => server.close(closed)))
  })
}

/** A process that has ended but was not collected by its parent does not count. */
function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', () => done()))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return port
}

describe('robust cluster add-node', () => {
  test('Placement Center nodes join one that runs, and the first may die', async () => {
    const { robust, status } = await cluster('--nodes', '1', '--placement', '1')
    for (const number of [2, 3]) {
      const ran = await robust('cluster', 'add-node', '--role', 'placement')
      expect(ran.stderr + ran.code).toBe('0')
      expect(ran.stdout).toContain(`placement-${number} has joined`)
    }
    const first = (await status()).placement.leader
    expect(first).toBe('placement-1')
    await robust('cluster', 'kill', 'placement-1')
    const leader = async () => (await status()).placement.leader
    await expect.poll(leader).toMatch(/placement-[23]/)
    expect((await robust('topic', 'create', 'after')).code).toBe(0)
    // The same cluster comes back as it is, the one that began it and those that came.
    expect((await robust('cluster', 'up')).code).toBe(0)
    await expect.poll(async () => (await status()).health).toBe('healthy')
    const members = (await status()).nodes.filter(({ role }) => role === 'placement')
    expect(members.map(({ name, state }) => `${name} ${state}`).toSorted()).toEqual([
      'placement-1 running',
      'placement-2 running',
      'placement-3 running',
    ])
  })
})

describe('robust cluster up and down', () => {
  test('down and up again keeps sessions, retained and unread messages; purge leaves nothing', async () => {
    const started = await startCluster('--nodes', '2', '--placement', '1')
    const port = started.mqttPort
    const id = ['-c', '-i', 'keeper', '-V', '5', '-x', '3600', '-q', '1', '-t', 'kept/#']
    await mosquittoSub(port(1), ...id, '-E')
    await mosquittoPub(port(2), '-q', '1', '-t', 'kept/unread', '-m', 'unread')
    await mosquittoPub(port(2), '-q', '1', '-r', '-t', 'retained/a', '-m', 'retained')
    expect((await started.robust('cluster', 'down')).code).toBe(0)
    const offset = String(started.offset)
    const up = ['cluster', 'up', '--nodes', '2', '--placement', '1', '--port-offset', offset]
    expect((await started.robust(...up)).code).toBe(0)
    expect(await mosquittoSub(port(2), ...id, '-C', '1', '-W', '10')).toBe('unread\n')
    const retained = ['-q', '1', '-t', 'retained/#', '-C', '1', '-W', '10', '-v']
    expect(await mosquittoSub(port(1), ...retained)).toBe('retained/a retained\n')
    const pids = (await started.status()).nodes.flatMap(({ pid }) => (pid ? [pid] : []))
    expect(pids).toHaveLength(4)
    expect((await started.robust('cluster', 'down', '--purge')).code).toBe(0)
    expect(pids.filter(isRunning)).toEqual([])
    expect(existsSync(join(started.home, 'clusters', 'local'))).toBe(false)
    await started.purge()
  })

  test('up names the owner of a busy port and starts nothing', async () => {
    const home = temporaryHome()
    const offset = randomOffset()
    await occupy(1883 + offset)
    const { code, stderr } = await runRobust(home, [
      'cluster',
      'up',
      '--port-offset',
      String(offset),
    ])
    expect(code).toBe(73)
    expect(stderr).toContain('error[PORT_IN_USE]')
    expect(stderr).toContain(`pid ${process.pid}`)
    expect((await runRobust(home, ['cluster', 'status'])).code).toBe(66)
  })

  test('up again adds nodes, and a broker joins by hand', async () => {
    const started = await cluster('--nodes', '1', '--placement', '1')
    const offset = String(started.offset)
    const up = ['cluster', 'up', '--nodes', '2', '--placement', '1', '--port-offset', offset]
    expect((await started.robust(...up)).code).toBe(0)
    const mqttPort = await freePort()
    const grpcPort = await freePort()
    const address = `127.0.0.1:${1228 + started.offset}`
    const joined = robust(
      started.home,
      ...['broker', 'start', '--node-id', 'by-hand', '--placement', address],
      ...['--storage', `robust://127.0.0.1:${1778 + started.offset}`],
      ...['--mqtt-port', String(mqttPort), '--grpc-port', String(grpcPort)],
    )
    const shards = async () =>
      (await started.status()).nodes.find(({ name }) => name === 'by-hand')?.shards?.open ?? 0
    await expect.poll(shards).toBeGreaterThan(10)
    const sub = await connect(mqttPort)
    await sub.mqtt.subscribeAsync('hand', { qos: 1 })
    await mosquittoPub(started.mqttPort(1), '-q', '1', '-t', 'hand', '-m', 'shaken')
    await expect.poll(sub.texts).toEqual(['shaken'])
    await sub.end()
    joined.child.kill('SIGTERM')
    expect(await joined.exited).toBe(0)
    const gone = async () => (await started.status()).nodes.some(({ name }) => name === 'by-hand')
    await expect.poll(gone).toBe(false)
    expect((await started.robust('cluster', 'status')).code).toBe(0)
  })
})

describe('robust broker start', () => {
  test('a wrong Placement Center address is named, tried again, and fatal only where asked', async () => {
    const home = temporaryHome()
    const ports = ['--mqtt-port', '0', '--grpc-port', '0', '--storage', 'memory:']
    const wrong = ['--placement', `127.0.0.1:${await freePort()}`]
    const patient = robust(home, 'broker', 'start', ...wrong, ...ports)
    await expect.poll(patient.output).toContain('PLACEMENT_UNREACHABLE')
    expect(patient.output()).toContain(wrong[1])
    expect(patient.child.exitCode).toBeNull()
    const asked = ['--startup-timeout', '1']
    const { code, stderr } = await runRobust(home, [
      'broker',
      'start',
      ...wrong,
      ...ports,
      ...asked,
    ])
    expect(code).toBe(69)
    expect(stderr).toContain('error[UNREACHABLE]')
  })

  test('a wrong storage address is named and tried again', async () => {
    const home = temporaryHome()
    const storage = `robust://127.0.0.1:${await freePort()}`
    const wrong = ['--placement', '127.0.0.1:1', '--storage', storage]
    const patient = robust(
      home,
      'broker',
      'start',
      ...wrong,
      '--mqtt-port',
      '0',
      '--grpc-port',
      '0',
    )
    await expect.poll(patient.output).toContain(storage.slice('robust://'.length))
    expect(patient.child.exitCode).toBeNull()
  })

  test.each([
    [['--storage', 'memory:'], 64, 'placement'],
    [['--placement', 'nonsense', '--storage', 'memory:'], 64, 'HOST:PORT'],
    [['--placement', 'h:1', '--storage', 'memory:', '--nonsense'], 64, 'nonsense'],
  ])('bad flags %j exit %i and say why', async (flags, expected, said) => {
    const { code, stderr } = await runRobust(temporaryHome(), ['broker', 'start', ...flags])
    expect(code).toBe(expected)
    expect(stderr).toContain(said)
  })
})

describe('robust server start', () => {
  test('runs everything in one process, keeps data, and drains on SIGTERM', async () => {
    const home = temporaryHome()
    const data = join(home, 'data')
    const offset = String(randomOffset())
    const mqttPort = 1883 + Number(offset)
    const start = () => robust(home, 'server', 'start', '--data', data, '--port-offset', offset)
    const ready = async () => {
      try {
        await mosquittoPub(mqttPort, '-q', '1', '-t', 'probe', '-m', 'x')
        return true
      } catch {
        return false
      }
    }
    const first = start()
    await expect.poll(first.output).toContain('mqtt')
    await expect.poll(ready).toBe(true)
    await mosquittoPub(mqttPort, '-q', '1', '-r', '-t', 'kept', '-m', 'over a restart')
    first.child.kill('SIGTERM')
    expect(await first.exited).toBe(0)
    const second = start()
    await expect.poll(ready).toBe(true)
    const output = await mosquittoSub(mqttPort, '-q', '1', '-t', 'kept', '-C', '1', '-W', '10')
    expect(output).toBe('over a restart\n')
    second.child.kill('SIGTERM')
    expect(await second.exited).toBe(0)
  })
})
