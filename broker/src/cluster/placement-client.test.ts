import { Server, ServerCredentials } from '@grpc/grpc-js'
import { placement } from '@robust/proto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { MetadataCache } from './metadata-cache.ts'
import { PlacementClient } from './placement-client.ts'

const HEARTBEAT_MS = 50
const LEASE_MS = 3_000
const HOUR_MS = 3_600_000
const cleanups: (() => unknown)[] = []

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup()
})

/** A leader that lets everybody in, and may fall silent. */
async function startLeader() {
  const seen = { registrations: 0, heartbeats: 0 }
  const leader = { isSilent: false }
  const server = new Server()
  const index = 1
  const implementation: Partial<placement.PlacementServer> = {
    register: (_call, done) => {
      seen.registrations += 1
      const times = { leaseTtlMs: LEASE_MS, heartbeatMs: HEARTBEAT_MS }
      done(null, { clusterId: 'c', nodeEpoch: 7, ...times, index, placementAddresses: [] })
    },
    heartbeat: (_call, done) => {
      if (leader.isSilent) return
      seen.heartbeats += 1
      const told = { leaseTtlMs: LEASE_MS, registered: true, placementAddresses: [] }
      done(null, { ...told, metadataIndex: index, placementTerm: 1 })
    },
    watch: (call) => {
      const metadata = { clusterId: 'c', shardCount: 0, nodes: [], shards: [] }
      call.write({ index, placementTerm: 1, kind: { $case: 'snapshot', value: metadata } })
      call.write({ index, placementTerm: 1, kind: { $case: 'caughtUp', value: true } })
    },
  }
  server.addService(placement.PlacementService, implementation as placement.PlacementServer)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error)
      else resolve(bound)
    })
  })
  cleanups.push(() => server.forceShutdown())
  return { address: `127.0.0.1:${port}`, seen, leader }
}

async function startClient(address: string): Promise<PlacementClient> {
  const place = { nodeId: 'b', incarnation: 'b1', version: '0', grpcAddress: 'x:1' }
  const client = new PlacementClient({
    addresses: [address],
    registration: { ...place, endpoints: [], clusterId: '', replaces: '' },
    metadata: new MetadataCache('b'),
    report: () => placement.RuntimeReport.fromPartial({}),
    onReregistered: () => undefined,
    onRenewed: () => undefined,
    onTrouble: () => undefined,
  })
  cleanups.push(() => client.stop())
  await client.start()
  return client
}

/** The wall clock only, as if somebody had set it. */
function setWallClock(byMs: number): void {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + byMs })
  cleanups.push(() => vi.useRealTimers())
}

describe('failure case 11: PlacementClient when the wall clock of its machine is set', () => {
  it.each([HOUR_MS, -HOUR_MS])('keeps its registration, and its lease (%i ms)', async (byMs) => {
    const { address, seen } = await startLeader()
    const client = await startClient(address)
    await expect.poll(() => seen.heartbeats, { timeout: 5_000 }).toBeGreaterThan(3)
    setWallClock(byMs)
    const before = seen.heartbeats
    await expect.poll(() => seen.heartbeats, { timeout: 10_000 }).toBeGreaterThan(before + 5)
    expect([client.leaseValid, client.mayAcknowledge]).toEqual([true, true])
    expect(seen.registrations).toBe(1)
  })

  it('does not take its lease for longer than it is', async () => {
    const { address, seen, leader } = await startLeader()
    const client = await startClient(address)
    await expect.poll(() => seen.heartbeats, { timeout: 5_000 }).toBeGreaterThan(1)
    leader.isSilent = true
    setWallClock(-HOUR_MS)
    expect(client.leaseValid).toBe(true)
    const isValid = (): boolean => client.leaseValid
    await expect.poll(isValid, { timeout: 10_000 }).toBe(false)
    await expect.poll(() => client.mayAcknowledge, { timeout: 10_000 }).toBe(false)
  })
})
