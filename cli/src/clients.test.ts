import { Metadata, Server, ServerCredentials, type sendUnaryData, status } from '@grpc/grpc-js'
import { placement, serveHealthAndReflection } from '@robust/proto'
import { afterEach, describe, expect, test } from 'vitest'
import { drainBroker, isServing, placementStatus } from './clients.ts'

let servers: Server[] = []

afterEach(() => {
  for (const server of servers) server.forceShutdown()
  servers = []
})

type Drain = (done: sendUnaryData<placement.DrainReply>) => void

async function serve(drain: Drain, setUp?: (server: Server) => Promise<void>): Promise<string> {
  const server = new Server()
  servers.push(server)
  server.addService(placement.PlacementService, {
    status: (_call: unknown, done: sendUnaryData<placement.StatusReply>) =>
      done(null, placement.StatusReply.fromPartial({ role: 'leader' })),
    drain: (_call: unknown, done: sendUnaryData<placement.DrainReply>) => drain(done),
  } as unknown as placement.PlacementServer)
  await setUp?.(server)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    )
  })
  return `127.0.0.1:${port}`
}

const follows =
  (leader?: string): Drain =>
  (done) => {
    const metadata = new Metadata()
    if (leader !== undefined) metadata.set('leader-address', leader)
    done({ code: status.FAILED_PRECONDITION, details: 'not the leader', metadata })
  }

const nowhere = '127.0.0.1:1'
const request = { nodeId: 'broker-1', reason: 'test', deadlineMs: 0 }

describe('drainBroker', () => {
  test('drainBroker goes past dead nodes and to the leader that a follower names', async () => {
    const leader = await serve((done) => done(null, { shards: 9 }))
    const follower = await serve(follows(leader))
    expect(await drainBroker([nowhere, follower], request)).toBe(9)
  })

  test('drainBroker says what the leader has against it', async () => {
    const leader = await serve((done) => done({ code: status.NOT_FOUND, details: 'no such node' }))
    await expect(drainBroker([leader], request)).rejects.toMatchObject({
      id: 'REFUSED',
      failure: { cause: 'no such node', exit: 1 },
    })
  })

  test('drainBroker ends when two followers name each other', async () => {
    let second = ''
    const first = await serve((done) => follows(second)(done))
    second = await serve(follows(first))
    await expect(drainBroker([first, second], request)).rejects.toMatchObject({
      id: 'NO_LEADER',
      failure: { exit: 75 },
    })
  })

  test('drainBroker says that nobody answers', async () => {
    await expect(drainBroker([nowhere], request)).rejects.toMatchObject({
      id: 'UNREACHABLE',
      failure: { exit: 69 },
    })
  })
})

describe('looks', () => {
  test('placementStatus answers, or is undefined where nobody does', async () => {
    const address = await serve(follows())
    expect((await placementStatus(address))?.role).toBe('leader')
    expect(await placementStatus(nowhere)).toBeUndefined()
  })

  test('isServing follows grpc.health.v1', async () => {
    let setStatus: (to: 'SERVING' | 'NOT_SERVING') => void = () => undefined
    const address = await serve(follows(), async (server) => {
      setStatus = await serveHealthAndReflection(server, [])
    })
    setStatus('SERVING')
    expect(await isServing(address)).toBe(true)
    setStatus('NOT_SERVING')
    expect(await isServing(address)).toBe(false)
    expect(await isServing(nowhere)).toBe(false)
  })
})
