/** Fail-over and moved slots under a client that goes on committing, and what is said when writes are lost. */
import type { StorageAdapter } from '@robust/storage-adapters'
import {
  append,
  expectCode,
  keysOf,
  openWriter,
  owner,
  put,
  readAll,
  shard,
} from '@robust/storage-adapters/conformance'
import { afterEach, describe, expect, test } from 'vitest'
import {
  durable,
  eventually,
  type RedisServer,
  startRedis,
  startRedisCluster,
  startSentinelPair,
} from '../support/redis-servers.ts'
import { cleanUp, onCleanUp, open, untilKnown } from './redis-support.ts'

afterEach(cleanUp)

/** An owner as the broker is one: an unknown outcome is settled by opening again and repeating. */
class Owner {
  acknowledged = 0
  readonly #adapter: StorageAdapter
  readonly #shard: number
  #isOpen = false

  constructor(adapter: StorageAdapter, number = shard) {
    this.#adapter = adapter
    this.#shard = number
  }

  async commitOne(): Promise<void> {
    const at = this.acknowledged
    await untilKnown(async () => {
      if (!this.#isOpen) {
        const request = { shard: this.#shard, epoch: 1, owner }
        const { commitNumber } = await this.#adapter.open(request)
        expect([at, at + 1]).toContain(commitNumber)
        this.#isOpen = true
        if (commitNumber === at + 1) return
      }
      const operations = [append('log', at, `${at}`), put(`key-${String(at).padStart(5, '0')}`)]
      const request = { shard: this.#shard, epoch: 1, commitNumber: at + 1, operations }
      await this.#adapter.commit(request).catch((error) => {
        this.#isOpen = false
        throw error
      })
    })
    this.acknowledged += 1
  }

  /** Commits until told to stop. */
  async run(isDone: () => boolean): Promise<void> {
    while (!isDone()) await this.commitOne()
  }
}

async function expectAll(adapter: StorageAdapter, { acknowledged }: Owner, number = shard) {
  expect((await keysOf(adapter, { shard: number })).length).toBe(acknowledged)
  expect((await readAll(adapter, 'log', { shard: number })).length).toBe(acknowledged)
}

async function isPrimary(server: RedisServer): Promise<boolean> {
  return (await server.command('INFO', 'replication').catch(() => '')).includes('role:master')
}

/** Another connection's WAIT would say nothing about what was written on this one. */
async function replicated(primary: RedisServer): Promise<void> {
  await eventually('the replica has everything', async () => {
    const info = await primary.command('INFO', 'replication')
    const written = /master_repl_offset:(\d+)/.exec(info)?.[1]
    const confirmed = /slave0:.*?offset=(\d+)/.exec(info)?.[1]
    return written !== undefined && written === confirmed
  })
}

describe('Sentinel', () => {
  test('a primary that dies: commits confirmed by the replica go on there, none is lost', async () => {
    const pair = await startSentinelPair()
    onCleanUp(pair.remove)
    const adapter = await open(`${pair.url}?wait=1&wait-ms=1000&timeout-ms=3000`)
    expect(adapter.capabilities.survivesMachineLoss).toBe(true)
    const run = new Owner(adapter)
    for (let at = 0; at < 30; at += 1) await run.commitOne()
    await pair.primary.kill()
    await eventually('the replica leads', () => isPrimary(pair.replica))
    // Nobody is left to confirm: what is written is not acknowledged.
    await expectCode(adapter.open({ shard, epoch: 1, owner }), 'UNAVAILABLE')
    const third = await startRedis({
      settings: [...durable, '--replicaof', '127.0.0.1', String(pair.replica.port)],
    })
    onCleanUp(third.remove)
    for (let at = 0; at < 10; at += 1) await run.commitOne()
    await expectAll(adapter, run)
  })

  test('a primary that only pauses: the client goes over, and the paused one writes nothing more', async () => {
    const pair = await startSentinelPair()
    onCleanUp(pair.remove)
    const adapter = await open(`${pair.url}?timeout-ms=2000`)
    const run = new Owner(adapter)
    for (let at = 0; at < 10; at += 1) await run.commitOne()
    await replicated(pair.primary)
    pair.primary.process.kill('SIGSTOP')
    for (let at = 0; at < 10; at += 1) await run.commitOne()
    expect(await isPrimary(pair.replica)).toBe(true)
    pair.primary.process.kill('SIGCONT')
    await eventually('the old primary follows', async () => !(await isPrimary(pair.primary)))
    for (let at = 0; at < 10; at += 1) await run.commitOne()
    await expectAll(adapter, run)
  })

  test('a replica that lagged takes over: DATA_LOSS for the shard that lost, the other goes on', async () => {
    const pair = await startSentinelPair()
    onCleanUp(pair.remove)
    const adapter = await open(`${pair.url}?timeout-ms=3000`)
    const quiet = new Owner(adapter, 8)
    await quiet.commitOne()
    const writer = await openWriter(adapter)
    await writer.commit(put('kept'))
    await replicated(pair.primary)
    pair.replica.process.kill('SIGSTOP')
    // More than the sockets between the two hold.
    for (let at = 0; at < 24; at += 1)
      await writer.commit(put('lost', Buffer.alloc(1_000_000, 'x')))
    await pair.primary.kill()
    pair.replica.process.kill('SIGCONT')
    await eventually('the replica leads', () => isPrimary(pair.replica), 60_000)
    await expectCode(
      untilKnown(async () => {
        await adapter.open({ shard, epoch: 1, owner })
      }),
      'DATA_LOSS',
    )
    await expect(adapter.open({ shard, epoch: 2, owner })).rejects.toThrow(/went back in time/)
    await quiet.commitOne()
    await expectAll(adapter, quiet, 8)
    // Who has not seen the newer one has only the numbers to tell from: they are given as they are stored.
    const other = await open(pair.url)
    expect((await other.open({ shard, epoch: 2, owner })).commitNumber).toBeLessThan(25)
  }, 120_000)
})

describe('wait', () => {
  test('too few confirmations are UNAVAILABLE, not acknowledged; later the same commit is', async () => {
    const server = await startRedis()
    onCleanUp(server.remove)
    const adapter = await open(`redis://${server.address}?wait=1&wait-ms=200`)
    await expectCode(adapter.open({ shard, epoch: 1, owner }), 'UNAVAILABLE')
    const replica = await startRedis({
      settings: [...durable, '--replicaof', '127.0.0.1', String(server.port)],
    })
    onCleanUp(replica.remove)
    const run = new Owner(adapter)
    await run.commitOne()
    replica.process.kill('SIGSTOP')
    const request = { shard, epoch: 1, commitNumber: 2, operations: [put('a')] }
    await expect(adapter.commit(request)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('confirmed by 0'),
    })
    await expectCode(adapter.commit(request), 'NOT_OPEN')
    replica.process.kill('SIGCONT')
    const { commitNumber } = await untilKnown(() => adapter.open({ shard, epoch: 1, owner }))
    expect(commitNumber).toBe(2)
    await adapter.commit(request)
  })

  test('64 shards share confirmations', async () => {
    const pair = await startSentinelPair()
    onCleanUp(pair.remove)
    const adapter = await open(`${pair.url}?wait=1`)
    const owners = Array.from({ length: 64 }, (_, number) => new Owner(adapter, number))
    await Promise.all(
      owners.map(async (one) => {
        for (let at = 0; at < 10; at += 1) await one.commitOne()
      }),
    )
    for (const number of [0, 63]) await expectAll(adapter, owners[number] as Owner, number)
  })
})

describe('cluster', () => {
  test('a primary dies and its replica takes over: commits go on, the other nodes do not notice', async () => {
    const group = await startRedisCluster({ replicas: true })
    onCleanUp(group.remove)
    const adapter = await open(`${group.url}?wait=1&timeout-ms=5000`)
    const owners = [0, 1, 2, 3, 4, 5].map((number) => new Owner(adapter, number))
    for (const one of owners) for (let at = 0; at < 5; at += 1) await one.commitOne()
    await group.servers[0]?.kill()
    const replica = group.servers[3] as RedisServer
    await eventually('the replica leads', () => isPrimary(replica), 60_000)
    const other = await open(group.url.replace(/\/\/[^,]*,/, '//'))
    for (const number of owners.keys()) {
      const read = () => readAll(other, 'log', { shard: number })
      expect((await untilKnown(read)).length).toBe(5)
    }
    const third = await startRedis({
      settings: [...durable, '--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'],
    })
    onCleanUp(third.remove)
    await replica.command('CLUSTER', 'MEET', '127.0.0.1', String(third.port))
    const id = await replica.command('CLUSTER', 'MYID')
    await eventually('a new replica follows', () =>
      third.command('CLUSTER', 'REPLICATE', id).then(
        () => true,
        () => false,
      ),
    )
    for (const one of owners) for (let at = 0; at < 5; at += 1) await one.commitOne()
    for (const [number, one] of owners.entries()) await expectAll(adapter, one, number)
  }, 120_000)

  for (const query of ['', '?wait=1']) {
    test(`slots move to another node under commits (ASK, then MOVED)${query && ', confirmed'}`, async () => {
      const group = await startRedisCluster({ replicas: query !== '' })
      onCleanUp(group.remove)
      const adapter = await open(group.url + query)
      const run = new Owner(adapter)
      for (let at = 0; at < 10; at += 1) await run.commitOne()
      let isDone = false
      const running = run.run(() => isDone)
      const before = run.acknowledged
      await moveSlot(group.servers.slice(0, 3), `{${shard}}`)
      await eventually('commits go on there', () => run.acknowledged > before + 10)
      isDone = true
      await running
      await expectAll(adapter, run)
      await expectAll(await open(group.url), run)
    }, 120_000)
  }
})

/** As redis-cli does it: the keys one by one, each answered by ASK until the slot has its new home. */
async function moveSlot(primaries: readonly RedisServer[], key: string): Promise<void> {
  const slot = await (primaries[0] as RedisServer).command('CLUSTER', 'KEYSLOT', key)
  const owners = await Promise.all(
    primaries.map(async (one) => (await one.command('CLUSTER', 'COUNTKEYSINSLOT', slot)) !== '0'),
  )
  const source = primaries[owners.indexOf(true)] as RedisServer
  const target = primaries[owners.indexOf(false)] as RedisServer
  const [from, to] = [
    await source.command('CLUSTER', 'MYID'),
    await target.command('CLUSTER', 'MYID'),
  ]
  await target.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from)
  await source.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to)
  for (;;) {
    const keys = (await source.command('CLUSTER', 'GETKEYSINSLOT', slot, '1')).split('\n')
    if (keys[0] === '') break
    await source.command('MIGRATE', '127.0.0.1', `${target.port}`, keys[0] as string, '0', '5000')
  }
  for (const one of [target, source, ...primaries]) {
    await one.command('CLUSTER', 'SETSLOT', slot, 'NODE', to)
  }
}
