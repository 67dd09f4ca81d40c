import { describe, expect, test } from 'vitest'
import { parseRedisUrl } from './redis-url.ts'

describe('parseRedisUrl', () => {
  test('parseRedisUrl takes one server, with defaults', () => {
    expect(parseRedisUrl('redis://10.0.0.1')).toEqual({
      mode: 'standalone',
      nodes: [{ host: '10.0.0.1', port: 6379 }],
      masterName: '',
      database: 0,
      username: undefined,
      password: undefined,
      passwordFile: undefined,
      sentinelUsername: undefined,
      sentinelPassword: undefined,
      tls: undefined,
      prefix: 'robust',
      wait: 0,
      waitAof: undefined,
      waitMs: 2000,
      timeoutMs: 10_000,
      strict: false,
      acceptDataLoss: false,
    })
  })

  test('parseRedisUrl takes the user, the password, the database and every option', () => {
    const url =
      'rediss://robust:p%40ss%3A@[::1]:6380/3?prefix=a.b&wait=2&wait-aof=1,2&wait-ms=50&timeout-ms=7' +
      '&durability=strict&accept-data-loss=true&tls-ca=/ca.pem&tls-cert=/c.pem&tls-key=/k.pem' +
      '&tls-server-name=redis&password-file=/p&sentinel-username=u&sentinel-password=v'
    expect(parseRedisUrl(url)).toMatchObject({
      nodes: [{ host: '::1', port: 6380 }],
      database: 3,
      username: 'robust',
      password: 'p@ss:',
      tls: { ca: '/ca.pem', cert: '/c.pem', key: '/k.pem', serverName: 'redis' },
      ...{ prefix: 'a.b', wait: 2, waitAof: { local: 1, replicas: 2 }, waitMs: 50, timeoutMs: 7 },
      ...{ strict: true, acceptDataLoss: true, passwordFile: '/p' },
      ...{ sentinelUsername: 'u', sentinelPassword: 'v' },
    })
  })

  test('parseRedisUrl takes Sentinels with the name of the primary, and clusters', () => {
    expect(parseRedisUrl('redis+sentinel://:pw@a,b:26380/main/2')).toMatchObject({
      mode: 'sentinel',
      nodes: [
        { host: 'a', port: 26_379 },
        { host: 'b', port: 26_380 },
      ],
      masterName: 'main',
      database: 2,
      password: 'pw',
    })
    expect(parseRedisUrl('rediss+cluster://a:1,b:2,c:3')).toMatchObject({
      mode: 'cluster',
      tls: {},
      nodes: [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
        { host: 'c', port: 3 },
      ],
    })
  })

  test('parseRedisUrl refuses what it does not understand, and shows no password', () => {
    const wrong = [
      ...['redis:', 'redis://', 'redis://a:0', 'redis://a:70000', 'redis://a b', 'redis://a/x'],
      ...['redis://a/1/2', 'redis+sentinel://a', 'redis+cluster://a/1', 'redis://a?nonsense=1'],
      ...[
        'redis://a?prefix={x}',
        'redis://a?prefix=',
        'redis://a?wait=x',
        'redis://a?wait-aof=2,1',
      ],
      ...['redis://a?durability=no', 'redis://a?tls-ca=/x', 'redis://u:%zz@a'],
    ]
    for (const url of wrong) {
      expect(() => parseRedisUrl(url), url).toThrow(
        expect.objectContaining({ name: 'StorageError', code: 'INVALID' }),
      )
    }
    const say = () => parseRedisUrl('redis://u:secret@a?nonsense=1')
    expect(say).toThrow(expect.objectContaining({ message: expect.not.stringContaining('secret') }))
  })
})
