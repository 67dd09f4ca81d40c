import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseStorageConfig } from './config.ts'
import { expectCode, keysOf, openWriter, owner, put, shard } from './conformance/fixtures.ts'
import type { Logger } from './logger.ts'
import { openStorage } from './open-storage.ts'
import type { StorageAdapter } from './storage-adapter.ts'

const silent: Logger = { info: () => undefined, warn: () => undefined, error: () => undefined }

interface Node {
  readonly process: ChildProcess
  readonly port: number
  readonly ready: { promise: string }
  /** Exit code and what was written to stderr. */
  readonly exited: Promise<{ code: number | null; stderr: string }>
}

let directory = ''
let children: ChildProcess[] = []
let clients: StorageAdapter[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'robust-storage-'))
})

afterEach(async () => {
  for (const client of clients) await client.stop()
  for (const child of children) child.kill('SIGKILL')
  children = []
  clients = []
  await rm(directory, { recursive: true, force: true })
})

function run(...flags: string[]) {
  const child = spawn(
    process.execPath,
    [
      '--conditions=source',
      '--import',
      'tsx',
      fileURLToPath(import.meta.resolve('./main.ts')),
    ].concat(flags),
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  children.push(child)
  let stderr = ''
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const exited = new Promise<{ code: number | null; stderr: string }>((resolve) => {
    child.once('close', (code) => resolve({ code, stderr }))
  })
  return { process: child, stdout: child.stdout, exited }
}

async function start(listen: string): Promise<Node> {
  const {
    process: child,
    stdout,
    exited,
  } = run('--listen', listen, '--url', `leveldb:${directory}`)
  for await (const line of createInterface({ input: stdout })) {
    const entry = JSON.parse(line)
    if (entry.msg !== 'storage node ready') continue
    stdout.resume()
    return { process: child, port: entry.port, ready: entry, exited }
  }
  throw new Error(`The node ended: ${JSON.stringify(await exited)}`)
}

async function connect(port: number): Promise<StorageAdapter> {
  const url = `robust://127.0.0.1:${port}`
  const client = await openStorage(url, { logger: silent, connectMs: 15_000, waitMs: 15_000 })
  clients.push(client)
  return client
}

describe('storage process', { timeout: 60_000 }, () => {
  test('it prints its promise, serves, and on SIGTERM drains and exits 0', async () => {
    const node = await start('127.0.0.1:0')
    expect(node.ready.promise).toContain('leveldb: every commit is synced')
    const client = await connect(node.port)
    const writer = await openWriter(client)
    const commits = Array.from({ length: 50 }, (_, at) => writer.commit(put(`key-${at}`)))
    await Promise.all(commits)
    node.process.kill('SIGTERM')
    expect(await node.exited).toEqual({ code: 0, stderr: '' })
  })

  test('killed amid commits and started again: UNAVAILABLE, then NOT_OPEN until it is opened', async () => {
    const node = await start('127.0.0.1:0')
    const client = await connect(node.port)
    const before = await client.open({ shard, epoch: 1, owner })
    const writer = await openWriter(client)
    let acknowledged = 0
    const failure = (async () => {
      for (;;) {
        await writer.commit(put(`key-${String(acknowledged).padStart(6, '0')}`))
        acknowledged += 1
        if (acknowledged === 20) node.process.kill('SIGKILL')
      }
    })()
    await expectCode(failure, 'UNAVAILABLE')
    await node.exited
    await start(`127.0.0.1:${node.port}`)
    await expectCode(writer.commit(put('late')), 'NOT_OPEN')
    const after = await client.open({ shard, epoch: 1, owner })
    expect(after.incarnation).toBe(before.incarnation)
    expect(after.commitNumber).toBeGreaterThanOrEqual(acknowledged)
    expect((await keysOf(client)).length).toBe(after.commitNumber)
    await (await writer.open()).commit(put('next'))
  })

  test('a port in use exits 73 and names it in one line', async () => {
    const node = await start('127.0.0.1:0')
    const second = run('--listen', `127.0.0.1:${node.port}`, '--url', 'memory:')
    second.stdout.resume()
    expect(await second.exited).toEqual({
      code: 73,
      stderr: `error[PORT_IN_USE] storage cannot listen on 127.0.0.1:${node.port}: the port is in use\n`,
    })
  })

  test('a directory in use exits 73, a wrong flag 64', async () => {
    await start('127.0.0.1:0')
    const second = run('--listen', '127.0.0.1:0', '--url', `leveldb:${directory}`)
    const wrong = run('--url', 'memory:', '--nonsense')
    second.stdout.resume()
    wrong.stdout.resume()
    expect(await second.exited).toMatchObject({
      code: 73,
      stderr: expect.stringContaining('in use by another process'),
    })
    expect(await wrong.exited).toMatchObject({
      code: 64,
      stderr: expect.stringMatching(/^error\[USAGE\] .*nonsense.*\n$/),
    })
  })
})

describe('openStorage', () => {
  test('openStorage opens by scheme and refuses what it does not know, listing what it does', async () => {
    const memory = await openStorage('memory:', { logger: silent })
    expect(memory.capabilities.adapter).toBe('memory')
    const level = await openStorage(`leveldb:${directory}`, { logger: silent })
    expect(level.capabilities.adapter).toBe('leveldb')
    await level.stop()
    for (const url of ['', 'redisx://x', 'constructor:', 'memory', '/tmp/x']) {
      await expect(openStorage(url, { logger: silent })).rejects.toMatchObject({
        code: 'INVALID',
        message: expect.stringContaining('memory:, leveldb:PATH, redis://HOST:PORT'),
      })
    }
    for (const url of [
      'leveldb:',
      'memory:x',
      'robust://',
      'robust://a',
      'robust://a:0',
      'robust://a:1,b',
      'redis://',
      'redis://a?nonsense=1',
    ]) {
      await expectCode(openStorage(url, { logger: silent }), 'INVALID')
    }
  })
})

describe('parseStorageConfig', () => {
  test('parseStorageConfig takes flags and has defaults', () => {
    expect(parseStorageConfig(['--url', 'memory:'])).toEqual({
      host: '127.0.0.1',
      port: 1778,
      url: 'memory:',
      acceptDataLoss: false,
      strict: false,
    })
    expect(
      parseStorageConfig(['--url', 'leveldb:x', '--listen', '[::1]:99', '--accept-data-loss']),
    ).toEqual({ host: '::1', port: 99, url: 'leveldb:x', acceptDataLoss: true, strict: false })
  })

  test('parseStorageConfig says which flag is wrong', () => {
    const parse =
      (...flags: string[]) =>
      () =>
        parseStorageConfig(flags)
    expect(parse()).toThrow('--url')
    expect(parse('--url', 'robust://a:1')).toThrow('--url')
    expect(parse('--url', 'memory:', '--listen', '1778')).toThrow('--listen')
    expect(parse('--url', 'memory:', '--listen', 'a:70000')).toThrow('--listen')
    expect(parse('--url', 'memory:', 'extra')).toThrow('extra')
  })
})
