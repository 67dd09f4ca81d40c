import { ChangeClient, ChangeError } from '@robust/proto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { eventually, TestCenter } from '../testing/test-center.ts'

const KEY = { kind: 'binding', tenant: 't', name: 'one' }
const VALUE = '{"source":"a","destination":"b"}'

let center: TestCenter
const clients: ChangeClient[] = []

beforeAll(async () => {
  center = await TestCenter.start({ size: 3, shardCount: 4, heartbeatMs: 200, leaseTtlMs: 2_000 })
})
afterAll(() => center.stop())
afterEach(() => {
  for (const client of clients.splice(0)) client.close()
})

function open(addresses: readonly string[], clusterId = '', timeoutMs = 20_000): ChangeClient {
  const identity = { clusterId, senderId: 'tool', incarnation: 'tool-1' }
  const client = new ChangeClient({ addresses, identity, timeoutMs })
  clients.push(client)
  return client
}

const put = (name: string, value: string | undefined = VALUE, expectedVersion?: number) => ({
  key: { ...KEY, name },
  value,
  expectedVersion,
})

async function follower(): Promise<string> {
  const leader = await center.leader()
  return center.addressOf(center.running.find((id) => id !== leader) as string)
}

describe('changes over a link', () => {
  it('are committed, each with a version of its own, in the order of their index', async () => {
    const client = open([center.addressOf(await center.leader())])
    const names = Array.from({ length: 500 }, (_, at) => `many-${at}`)
    const versions = await Promise.all(names.map((name) => client.change([put(name)], 'me')))
    expect(new Set(versions).size).toBe(500)
    expect(versions).toEqual([...versions].sort((left, right) => left - right))
    const found = await center.call(await center.leader(), (grpc, { metadata, options }, done) =>
      grpc.getResource({ key: { ...KEY, name: 'many-499' } }, metadata, options, done),
    )
    expect(found).toMatchObject({ value: VALUE, version: versions[499] })
  })

  it('find the leader from any member', async () => {
    const client = open([await follower()], 'test')
    expect(await client.change([put('found')], 'me')).toBeGreaterThan(0)
  })

  it('hold all or none, and say why not', async () => {
    const client = open(center.addresses)
    const version = await client.change([put('held', VALUE, 0)], 'me')
    const twice = client.change([put('other'), put('held', VALUE, 0)], 'me')
    await expect(twice).rejects.toMatchObject({ code: 'CONFLICT', currentVersion: version })
    await expect(client.change([put('other', undefined, 0)], 'me')).resolves.toBeGreaterThan(0)
    const wrong = client.change([put('bad', '{"no":"such field"}')], 'me')
    await expect(wrong).rejects.toMatchObject({ code: 'INVALID' })
    await expect(wrong).rejects.toBeInstanceOf(ChangeError)
    await expect(client.change([], 'me')).rejects.toMatchObject({ code: 'INVALID' })
  })

  it('are refused to another cluster', async () => {
    const change = open(center.addresses, 'another', 300).change([put('x')], 'me')
    await expect(change).rejects.toThrow('cluster')
  })

  it('go on with the next leader; what was on its way is said to be unknown', async () => {
    const client = open(center.addresses)
    await client.change([put('before')], 'me')
    const leader = await center.leader()
    const address = center.addressOf(leader)
    let isOver = false
    let unknown = 0
    const kept: string[] = []
    const writer = async (worker: number): Promise<void> => {
      for (let at = 0; !isOver; at += 1) {
        const name = `w${worker}-${at}`
        try {
          await client.change([put(name)], 'me')
          kept.push(name)
        } catch (error) {
          expect((error as ChangeError).code).toBe('OUTCOME_UNKNOWN')
          unknown += 1
        }
      }
    }
    const writers = [0, 1, 2, 3].map(writer)
    await eventually(() => kept.length > 50)
    await center.stopNode(leader)
    const before = kept.length
    await eventually(() => kept.length > before + 50, 20_000)
    isOver = true
    await Promise.all(writers)
    expect(unknown).toBeLessThanOrEqual(4)
    const next = await center.leader()
    expect(center.addressOf(next)).not.toBe(address)
    for (const name of kept) {
      await center.call(next, (grpc, { metadata, options }, done) =>
        grpc.getResource({ key: { ...KEY, name } }, metadata, options, done),
      )
    }
    await center.startNode(leader)
  })
})
