import { describe, expect, test } from 'vitest'
import { brokerConfig, parseServerConfig, serverPorts } from './server-config.ts'

describe('parseServerConfig', () => {
  test('parseServerConfig has standard ports on loopback, and data in .robust/server', () => {
    const config = parseServerConfig([])
    expect(config.ports).toEqual({
      ...{ mqtt: 1883, ws: 8083, mqtts: 8883, wss: 8084, sqs: 9324, sqss: 9325 },
      ...{ kafka: 9092, kafkas: 9093 },
      ...{ http: 8080, brokerGrpc: 9981, placement: 1228, storage: 1778 },
    })
    expect(config.host).toBe('127.0.0.1')
    expect(config.dataDir).toMatch(/\/\.robust\/server$/)
    expect(config.storageUrl).toBe(`leveldb:${config.dataDir}/storage`)
  })

  test('parseServerConfig shifts all ports but the one that is named', () => {
    const config = parseServerConfig(['--port-offset', '20000', '--mqtt-port', '1884'])
    expect(config.ports).toMatchObject({ mqtt: 1884, brokerGrpc: 29_981, storage: 21_778 })
  })

  test('storage elsewhere is not served again', () => {
    const ports = (...args: string[]) =>
      serverPorts(parseServerConfig(args)).map(({ port }) => port)
    expect(ports()).toContain(1778)
    expect(ports('--storage', 'robust://10.0.0.1:1778')).not.toContain(1778)
  })

  test('listening everywhere, the broker still finds its Placement Center', () => {
    const config = parseServerConfig(['--host', '0.0.0.0', '--advertise-host', 'example.org'])
    expect(brokerConfig(config)).toMatchObject({
      placement: ['127.0.0.1:1228'],
      advertiseHost: 'example.org',
    })
  })

  test.each([
    ['--nonsense'],
    ['--port-offset', 'x'],
    ['--port-offset', '60000'],
    ['--log-level', 'x'],
    ['--tls-cert', 'c.pem'],
  ])('parseServerConfig refuses %s %s', (...args) => {
    expect(() => parseServerConfig(args)).toThrow()
  })
})
