import { describe, expect, test } from 'vitest'
import { Members, type Way } from './mapping.ts'

function members(host: string, way: Partial<Way> = {}) {
  const ports: Readonly<Record<string, number>> = { kafka: 9092, kafkas: 9093 }
  const options = {
    ...{ self: 'b1', clusterId: () => 'c', hashOf: (node: string) => Number(node.slice(1)) },
    nodes: (entrance: string) =>
      ['b1', 'b2'].map((node) => ({ node, host, port: ports[entrance] ?? 0 })),
  }
  return new Members(options, { entrance: 'kafka', dialled: undefined, ...way })
}

describe('Members', () => {
  test('tells the addresses of the listener by which a client came', () => {
    expect(members('h').all()).toEqual([
      { nodeId: 1, host: 'h', port: 9092 },
      { nodeId: 2, host: 'h', port: 9092 },
    ])
    expect(members('h', { entrance: 'kafkas' }).find('b2')).toEqual({
      ...{ nodeId: 2, host: 'h', port: 9093 },
    })
    expect(members('h').find('b3')).toBeUndefined()
  })

  test.each(['0.0.0.0', '::', ''])('%j is where the client has dialled', (host) => {
    expect(members(host, { dialled: '::ffff:10.0.0.7' }).find('b1')?.host).toBe('10.0.0.7')
    expect(members(host, { dialled: 'fd00::7' }).find('b1')?.host).toBe('fd00::7')
    expect(members(host).find('b1')?.host).toBe(host)
  })

  test('an address that is advertised is told, whatever was dialled', () => {
    expect(members('broker.example', { dialled: '10.0.0.7' }).find('b1')?.host).toBe(
      'broker.example',
    )
  })
})
