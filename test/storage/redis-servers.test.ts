/** The Redis adapter against what real servers do: settings, limits, restarts, logins. */
import { execFileSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  append,
  batchAt,
  expectBytes,
  expectCode,
  keysOf,
  openWriter,
  owner,
  put,
  readAll,
  shard,
} from '@robust/storage-adapters/conformance'
import { afterEach, describe, expect, test } from 'vitest'
import { durable, eventually, type RedisOptions, startRedis } from '../support/redis-servers.ts'
import { cleanUp, type LogLine, onCleanUp, open, untilKnown } from './redis-support.ts'

afterEach(cleanUp)

async function serve(options: RedisOptions = {}) {
  const server = await startRedis(options)
  onCleanUp(server.remove)
  return Object.assign(server, { url: `redis://${server.address}` })
}

describe('promise', () => {
  const cases = [
    {
      settings: durable,
      promise: /appendfsync always: every commit is synced.*no replica: the loss of the disk/,
      survives: [true, true, false],
    },
    {
      settings: ['--appendonly', 'yes', '--appendfsync', 'everysec'],
      promise: /everysec: survives a crash of the process; a crash of the machine loses .* 2 s/,
      survives: [true, false, false],
    },
    {
      settings: ['--appendonly', 'no'],
      promise: /appendonly no: a restart of the server loses everything/,
      survives: [false, false, false],
    },
    {
      settings: [...durable, '--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru'],
      promise: /allkeys-lru: MAY DELETE STORED MESSAGES/,
      survives: [false, false, false],
    },
    {
      settings: [...durable, '--min-replicas-to-write', '1'],
      promise: /min-replicas-to-write 1 bounds, and does not prevent/,
      survives: [true, true, false],
    },
  ]
  for (const { settings, promise, survives } of cases) {
    test(`${settings.join(' ')} is told, and logged at the start`, async () => {
      const server = await serve({ settings })
      const lines: LogLine[] = []
      const { capabilities } = await open(server.url, { lines })
      expect(capabilities.promise).toMatch(promise)
      const { survivesProcessCrash, survivesOsCrash, survivesMachineLoss } = capabilities
      expect([survivesProcessCrash, survivesOsCrash, survivesMachineLoss]).toEqual(survives)
      const said = lines.find(({ fields }) => fields['promise'] === capabilities.promise)
      expect(said?.level).toBe(survivesOsCrash ? 'info' : 'warn')
    })
  }
})

describe('durability strict', () => {
  const refused = [
    ['appendonly is no', ['--appendonly', 'no', '--min-replicas-to-write', '1']],
    ['appendfsync is everysec', ['--appendonly', 'yes', '--min-replicas-to-write', '1']],
    [
      'maxmemory-policy allkeys-lru',
      [...durable, '--min-replicas-to-write', '1', '--maxmemory-policy', 'allkeys-lru'],
    ],
    ['no replica guarantee', durable],
  ] as const
  for (const [reason, settings] of refused) {
    test(`is refused: ${reason}`, async () => {
      const server = await serve({ settings })
      await expect(open(`${server.url}?durability=strict`)).rejects.toMatchObject({
        code: 'INVALID',
        message: expect.stringContaining(reason),
      })
      await expect(open(server.url, { strict: true })).rejects.toMatchObject({ code: 'INVALID' })
      await open(server.url)
    })
  }

  test('is given with always, noeviction and a replica, and commits stop when it no longer is', async () => {
    const settings = [...durable, '--min-replicas-to-write', '1', '--min-replicas-max-lag', '2']
    const server = await serve({ settings })
    const replica = await serve({
      settings: [...durable, '--replicaof', '127.0.0.1', `${server.port}`],
    })
    await eventually('the replica counts', async () =>
      (await server.command('INFO', 'replication')).includes('min_slaves_good_slaves:1'),
    )
    const adapter = await open(`${server.url}?durability=strict`)
    const writer = await openWriter(adapter)
    await writer.commit(put('a'))
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    await eventually('commits are refused', async () => {
      const { commitNumber } = writer
      return writer.commit(put('b')).then(
        () => false,
        (error) => {
          writer.commitNumber = commitNumber
          return error.code === 'FULL' && /allkeys-lru/.test(error.message)
        },
      )
    })
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    await untilKnown(() => openWriter(adapter).then((again) => again.commit(put('c'))))
    await replica.kill()
    await eventually('the replica is missed', async () =>
      (await server.command('INFO', 'replication')).includes('min_slaves_good_slaves:0'),
    )
    await expectCode(adapter.open({ shard, epoch: 2, owner }), 'UNAVAILABLE')
  })

  test('wait-aof needs a server that knows WAITAOF, and says so', async () => {
    const server = await serve()
    const knows = (await server.command('COMMAND', 'INFO', 'waitaof')).includes('waitaof')
    const opened = open(`${server.url}?wait-aof=1,0`)
    if (!knows) {
      await expect(opened).rejects.toMatchObject({
        code: 'INVALID',
        message: expect.stringContaining('7.2'),
      })
      return
    }
    const writer = await openWriter(await opened)
    await writer.commit(put('a'))
  })
})

describe('a server', () => {
  test('that forgets its scripts gets them again', async () => {
    const server = await serve()
    const adapter = await open(server.url)
    const writer = await openWriter(adapter)
    await writer.commit(put('a'), append('log', 0, 'x'))
    await server.command('SCRIPT', 'FLUSH')
    await writer.commit(put('b'), append('log', 1, 'y'))
    await server.command('SCRIPT', 'FLUSH')
    expect(await keysOf(adapter)).toEqual(['a', 'b'])
    await server.command('SCRIPT', 'FLUSH')
    await adapter.drop(shard, 2)
  })

  test('that is killed amid commits and started again has all that was acknowledged', async () => {
    const server = await serve()
    const adapter = await open(server.url)
    const writer = await openWriter(adapter)
    let acknowledged = 0
    const loop = async () => {
      while (acknowledged < 60) {
        const at = acknowledged
        await untilKnown(async () => {
          const { commitNumber } = await adapter.open({ shard, epoch: 1, owner })
          if (commitNumber === at + 1) return
          writer.commitNumber = commitNumber
          await writer.commit(put(`key-${String(at).padStart(3, '0')}`), append('log', at, `${at}`))
        })
        acknowledged += 1
      }
    }
    const done = loop()
    await eventually('some are acknowledged', () => acknowledged >= 20)
    await server.restart()
    await done
    expect((await keysOf(adapter)).length).toBe(60)
    expect((await readAll(adapter, 'log')).length).toBe(60)
  })

  test('that comes back empty is DATA_LOSS until that is accepted, and other data after it', async () => {
    const server = await serve({ settings: ['--appendonly', 'no'] })
    const adapter = await open(server.url)
    const before = await adapter.open({ shard, epoch: 1, owner })
    const writer = await openWriter(adapter)
    await writer.commit(put('a'))
    await server.command('FLUSHALL')
    await expectCode(writer.commit(put('b')), 'DATA_LOSS')
    await expectCode(adapter.open({ shard, epoch: 2, owner }), 'DATA_LOSS')
    await openWriter(adapter, { shard: shard + 1 })
    const other = await open(`${server.url}?accept-data-loss=true`)
    const after = await other.open({ shard, epoch: 2, owner })
    expect(after.commitNumber).toBe(0)
    expect(after.incarnation).not.toBe(before.incarnation)
  })

  test('that has lost the head of a shard is DATA_LOSS for that shard, for every client', async () => {
    const server = await serve()
    const adapter = await open(server.url)
    await openWriter(adapter)
    await openWriter(adapter, { shard: 8 })
    await server.command('DEL', `robust:{${shard}}:head`)
    const other = await open(server.url)
    await expectCode(other.open({ shard, epoch: 2, owner }), 'DATA_LOSS')
    await openWriter(other, { shard: 8, epoch: 2 })
    const accepting = await open(`${server.url}?accept-data-loss=true`)
    await openWriter(accepting, { epoch: 3 })
  })

  test('without memory is FULL for what adds, after pressure has risen; what frees goes on', async () => {
    const server = await serve({ settings: [...durable, '--maxmemory', '24mb'] })
    const adapter = await open(server.url)
    const writer = await openWriter(adapter)
    const value = Buffer.alloc(512 * 1024, 'x')
    let at = 0
    for (; (adapter.pressure ?? 0) < 0.75; at += 1) {
      await writer.commit(append('log', at, value))
      expect(at, 'pressure rises before memory is full').toBeLessThan(60)
    }
    const filled = (async () => {
      for (; ; at += 1) await writer.commit(append('log', at, value))
    })()
    await expectCode(filled, 'FULL')
    writer.commitNumber -= 1
    await adapter.open({ shard, epoch: 2, owner: 'another' })
    const next = await openWriter(adapter, { epoch: 3 })
    await next.commit({ kind: 'trim', log: 'log', beforeOffset: at })
    expect(await readAll(adapter, 'log')).toEqual([])
    await untilKnown(() => {
      next.commitNumber = 1 + at
      return next.commit(append('log', at, value))
    })
    expectBytes(await readAll(adapter, 'log'), [batchAt(at, value)])
    await eventually('pressure falls', () => (adapter.pressure ?? 1) < 0.75)
  })
})

describe('login', () => {
  test('an ACL user with no more than the README lists is enough; a wrong password is INVALID', async () => {
    const server = await serve()
    const rules = [
      ...['on', '>secret', '~robust:*', '+@read', '+@write', '+@scripting', '+@connection'],
      ...['+wait', '+info', '+config|get', '+command', '-@dangerous', '+info', '+config|get'],
    ]
    await server.command('ACL', 'SETUSER', 'robust', ...rules)
    const adapter = await open(`redis://robust:secret@${server.address}`)
    const writer = await openWriter(adapter)
    await writer.commit(put('a'), append('log', 0, 'x'))
    expect(await keysOf(adapter)).toEqual(['a'])
    expect(adapter.capabilities.survivesOsCrash).toBe(true)
    await adapter.drop(shard, 2)
    await expect(open(`redis://robust:wrong@${server.address}`)).rejects.toMatchObject({
      code: 'INVALID',
      message: expect.not.stringContaining('wrong@'),
    })
    const other = open(`redis://robust:secret@${server.address}?prefix=other`)
    await expect(other).rejects.toThrow(/ACL user/)
  })

  test('a user that may not ask for settings is promised nothing it cannot know', async () => {
    const server = await serve()
    await server.command('ACL', 'SETUSER', 'blind', 'on', '>pw', '~*', '+@all', '-config')
    const { capabilities } = await open(`redis://blind:pw@${server.address}`)
    expect(capabilities.survivesOsCrash).toBe(false)
    await expectCode(open(`redis://blind:pw@${server.address}?durability=strict`), 'INVALID')
  })

  test('prefixes are kept apart', async () => {
    const server = await serve()
    const [one, two] = [
      await open(`${server.url}?prefix=one`),
      await open(`${server.url}?prefix=two`),
    ]
    await (await openWriter(one)).commit(put('a'))
    await (await openWriter(two)).commit(put('b'))
    expect([await keysOf(one), await keysOf(two)]).toEqual([['a'], ['b']])
    const keys = (await server.command('KEYS', '*')).split('\n').sort()
    expect(keys.every((key) => /^(one|two):(\{7\}:|identity)/.test(key))).toBe(true)
  })

  test('TLS with a certificate of its own, checked against the given authority', async () => {
    const server = await serve()
    const { folder } = server
    const file = (name: string) => join(folder, name)
    const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' })
    openssl(
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-keyout', file('key.pem'), '-out', file('cert.pem'), '-days', '2', '-subj', '/CN=redis'],
      ...['-addext', 'subjectAltName=IP:127.0.0.1'],
    )
    chmodSync(file('key.pem'), 0o644)
    const tls = ['--tls-cert-file', file('cert.pem'), '--tls-key-file', file('key.pem')]
    const port = String(server.port)
    await server.restart([
      ...[...durable, '--port', '0', '--tls-port', port, '--tls-auth-clients', 'no'],
      ...[...tls, '--tls-ca-cert-file', file('cert.pem'), '--requirepass', 'secret'],
    ])
    writeFileSync(file('password'), 'secret\n')
    const url = `rediss://${server.address}?tls-ca=${file('cert.pem')}&password-file=${file('password')}`
    const writer = await openWriter(await open(url))
    await writer.commit(put('a'))
    await expectCode(open(`rediss://:secret@${server.address}`, { connectMs: 1500 }), 'UNAVAILABLE')
  })
})
