import { describe, expect, it } from 'vitest'
import { ConfigError, parsePlacementConfig } from './config.ts'

const parse = (line: string) => parsePlacementConfig(line.split(' '))

describe('parsePlacementConfig', () => {
  it('fills in the defaults', () => {
    expect(parse('--data d')).toEqual({
      nodeId: undefined,
      clusterId: undefined,
      host: '127.0.0.1',
      port: 1228,
      members: [],
      dataDir: 'd',
      shardCount: 64,
      preset: { heartbeatMs: 500, leaseTtlMs: 3_000 },
      logLevel: 'info',
    })
  })

  it('reads members and presets', () => {
    const config = parse('--data d --peers a=h:1,b=[::1]:2 --preset production --listen [::1]:2')
    expect(config.members).toEqual([
      { id: 'a', address: 'h:1' },
      { id: 'b', address: '[::1]:2' },
    ])
    expect(config.preset).toEqual({ heartbeatMs: 2_000, leaseTtlMs: 8_000 })
    expect([config.host, config.port]).toEqual(['[::1]', 2])
  })

  it('reads how to join', () => {
    const config = parse('--data d --node-id d --join h:1,i:2 --listen 0.0.0.0:3 --advertise j:3')
    expect(config).toMatchObject({ members: [], join: ['h:1', 'i:2'], advertise: 'j:3' })
  })

  it.each([
    ['--data d --join h', '--join h'],
    ['--data d --join h:1 --peers a=h:1', 'exclude'],
    ['--data d --advertise h', '--advertise h'],
    ['--data d --restore f --join h:1', 'alone'],
    ['--data d --restore-generation 2', 'needs --restore'],
    ['--data d --restore f --restore-generation 8192', '8192'],
    ['--node-id a', '--data'],
    ['--data d --listen here', '--listen here'],
    ['--data d --listen h:70000', '--listen h:70000'],
    ['--data d --peers a', '--peers a'],
    ['--data d --peers a=h', '--peers h'],
    ['--data d --peers a=h:1,a=h:2', 'twice'],
    ['--data d --shards 0', '--shards 0'],
    ['--data d --preset fast', '--preset fast'],
    ['--data d --log-level loud', '--log-level loud'],
    ['--data d --node-id a=b', '--node-id a=b'],
    ['--data d --unknown x', 'unknown'],
  ])('refuses %s, naming what is wrong', (line, named) => {
    expect(() => parse(line)).toThrow(ConfigError)
    expect(() => parse(line)).toThrow(named)
  })
})
