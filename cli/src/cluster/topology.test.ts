import { describe, expect, test } from 'vitest'
import {
  type ClusterPlan,
  joinedCount,
  numberOf,
  parseSetting,
  placementAddresses,
  planNodes,
  portUses,
  withoutPassword,
} from './topology.ts'

const plan: ClusterPlan = {
  name: 'local',
  clusterId: 'local-1',
  host: '127.0.0.1',
  dataDir: '/d',
  logDir: '/l',
  portOffset: 0,
  preset: 'dev',
  shards: 64,
  storageUrl: 'leveldb:/d/storage-1',
  externalPlacement: [],
  settings: [],
}

function argsOf(name: string, changes: Partial<ClusterPlan> = {}): readonly string[] {
  const nodes = planNodes({ ...plan, ...changes }, { placement: 3, brokers: 3 })
  return nodes.find((node) => node.name === name)?.args ?? []
}

describe('planNodes', () => {
  test('planNodes gives node i the standard port + 100·(i−1) + offset', () => {
    const nodes = planNodes({ ...plan, portOffset: 20_000 }, { placement: 3, brokers: 3 })
    const uses = portUses('127.0.0.1', nodes).map(
      ({ node, protocol, port }) => `${node} ${protocol} ${port}`,
    )
    expect(uses).toEqual([
      'storage-1 grpc 21778',
      'storage-1 http 21779',
      'placement-1 grpc 21228',
      'placement-1 http 21229',
      'placement-2 grpc 21328',
      'placement-2 http 21329',
      'placement-3 grpc 21428',
      'placement-3 http 21429',
      'broker-1 mqtt 21883',
      'broker-1 ws 28083',
      'broker-1 sqs 29324',
      'broker-1 kafka 29092',
      'broker-1 http 28080',
      'broker-1 grpc 29981',
      'broker-2 mqtt 21983',
      'broker-2 ws 28183',
      'broker-2 sqs 29424',
      'broker-2 kafka 29192',
      'broker-2 http 28180',
      'broker-2 grpc 30081',
      'broker-3 mqtt 22083',
      'broker-3 ws 28283',
      'broker-3 sqs 29524',
      'broker-3 kafka 29292',
      'broker-3 http 28280',
      'broker-3 grpc 30181',
    ])
  })

  test('planNodes lets Placement Center nodes that came later join those of the beginning', () => {
    const nodes = planNodes(plan, { placement: 4, joined: 1, brokers: 1 })
    const peers = nodes.filter(({ args }) => args.includes('--peers'))
    expect(peers.map(({ name }) => name)).toEqual(['placement-1', 'placement-2', 'placement-3'])
    expect(peers[0]?.args.join(' ')).not.toContain('placement-4=')
    const fourth = nodes.find(({ name }) => name === 'placement-4')?.args.join(' ')
    expect(fourth).toContain('--join 127.0.0.1:1228,127.0.0.1:1328,127.0.0.1:1428')
    expect(nodes.at(-1)?.args.join(' ')).toContain('127.0.0.1:1528')
    expect(joinedCount(nodes)).toBe(1)
  })

  test('planNodes gives ports to TLS where brokers have a certificate', () => {
    const secure = { ...plan, settings: ['broker.tls-cert=/c.pem', 'broker.tls-key=/k.pem'] }
    const [broker] = planNodes(secure, { placement: 0, brokers: 1 }).slice(-1)
    expect(broker?.ports).toMatchObject({ mqtts: 8883, wss: 8084 })
    expect(broker?.args).toContain('--mqtt-tls-port')
  })

  test('planNodes tells each Placement Center node all its peers', () => {
    const peers = 'placement-1=127.0.0.1:1228,placement-2=127.0.0.1:1328,placement-3=127.0.0.1:1428'
    expect(argsOf('placement-2')).toEqual([
      ...['--node-id', 'placement-2', '--listen', '127.0.0.1:1328', '--http-port', '1329'],
      ...['--peers', peers],
      ...['--data', '/d/placement-2', '--cluster-id', 'local-1', '--shards', '64'],
      ...['--preset', 'dev'],
    ])
  })

  test('planNodes gives brokers the storage node, or the storage elsewhere and starts none', () => {
    expect(argsOf('broker-1')).toContain('robust://127.0.0.1:1778')
    const remote = { storageUrl: 'robust://10.0.0.1:1778' }
    expect(argsOf('broker-1', remote)).toContain('robust://10.0.0.1:1778')
    expect(argsOf('storage-1', remote)).toEqual([])
  })

  test('planNodes gives brokers Redis itself, in each of its forms', () => {
    for (const form of ['redis', 'rediss', 'redis+sentinel', 'rediss+cluster']) {
      const redis = { storageUrl: `${form}://10.0.0.1:6379/main` }
      expect(argsOf('broker-1', redis)).toContain(redis.storageUrl)
      expect(argsOf('storage-1', redis)).toEqual([])
    }
  })

  test('withoutPassword hides passwords, and no more', () => {
    expect(withoutPassword('redis://u:pw@a:1?sentinel-password=x&wait=1')).toBe(
      'redis://u:***@a:1?sentinel-password=***&wait=1',
    )
    expect(withoutPassword('redis://:pw@a')).toBe('redis://:***@a')
    expect(withoutPassword('leveldb:/a:b@c')).toBe('leveldb:/a:b@c')
  })

  test('planNodes starts no Placement Center where one is given', () => {
    const externalPlacement = ['10.0.0.1:1228', '10.0.0.2:1228']
    expect(argsOf('placement-1', { externalPlacement })).toEqual([])
    expect(argsOf('broker-1', { externalPlacement })).toContain(externalPlacement.join(','))
    expect(placementAddresses({ ...plan, externalPlacement }, 0)).toEqual(externalPlacement)
  })

  test('planNodes refuses a port that does not exist', () => {
    const high = { ...plan, portOffset: 60_000 }
    expect(() => planNodes(high, { placement: 1, brokers: 1 })).toThrow('no such port')
  })

  test('planNodes adds settings to the nodes that they are for', () => {
    const settings = ['broker.log-level=debug', 'broker.log-level=error@broker-2']
    expect(argsOf('broker-1', { settings })).toEqual(expect.arrayContaining(['debug']))
    expect(argsOf('broker-2', { settings })).toEqual(expect.arrayContaining(['error']))
    expect(argsOf('placement-1', { settings })).not.toContain('--log-level')
    const flag = argsOf('storage-1', { settings: ['storage.accept-data-loss='] })
    expect(flag.at(-1)).toBe('--accept-data-loss')
  })
})

describe('parseSetting', () => {
  test('parseSetting reads role, flag, value and node', () => {
    expect(parseSetting('broker.packet-bytes-max=1024@broker-2')).toEqual({
      role: 'broker',
      flag: 'packet-bytes-max',
      value: '1024',
      node: 'broker-2',
    })
    expect(parseSetting('placement.log-level=a=b')).toMatchObject({ value: 'a=b' })
  })

  test.each(['x=1', 'broker=1', 'broker.x', 'client.x=1', 'broker.mqtt-port=1'])(
    'parseSetting refuses %s',
    (text) => {
      expect(() => parseSetting(text)).toThrow('--set')
    },
  )

  test('numberOf reads the number of a name', () => {
    expect(numberOf('broker-12')).toBe(12)
  })
})
