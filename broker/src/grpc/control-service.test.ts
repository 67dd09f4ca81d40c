import { type ServerUnaryCall, type ServiceError, type sendUnaryData, status } from '@grpc/grpc-js'
import type { control } from '@robust/proto'
import { describe, expect, test } from 'vitest'
import { createControlService } from './control-service.ts'

function setUp() {
  const placement = { nodeEpoch: 10, term: 5 }
  const done: string[] = []
  const service = createControlService({
    placement,
    shards: {
      acquire: (shards) => done.push(`acquire ${shards.length}`),
      release: async (shards) => {
        done.push(`release ${shards.length}`)
      },
    },
    clients: {
      throttle: ({ active }) => done.push(`throttle ${active}`),
      shed: ({ share }) => {
        done.push(`shed ${share}`)
        return 3
      },
    },
    inspect: () => ({}) as control.InspectReply,
  })
  return { placement, done, service }
}

const authority = { placementTerm: 5, nodeEpoch: 10, metadataIndex: 100 }
const common = { perSecond: 0, targets: [], closeOthers: true, reason: '' }

type Handler<Q, R> = (call: ServerUnaryCall<Q, R>, done: sendUnaryData<R>) => void

/** The answer, or the status code of the refusal. */
function call<Q, R>(handler: Handler<Q, R>, request: Q): R | number | undefined {
  let answer: R | number | undefined
  handler({ request } as ServerUnaryCall<Q, R>, (error, reply) => {
    answer = error === null ? (reply ?? undefined) : ((error as ServiceError).code as number)
  })
  return answer
}

describe('createControlService', () => {
  test('carries out what the leader of now says', () => {
    const { service, done } = setUp()
    call(service.acquireShards, { authority, shards: [{ shard: 1, epoch: 2 }] })
    call(service.releaseShards, { authority, shards: [], reason: '' })
    const throttle = { authority, active: true, acceptPerSecond: 0, targets: [], reason: '' }
    call(service.throttle, throttle)
    expect(call(service.shed, { authority, share: 0.5, ...common })).toEqual({ clients: 3 })
    expect(done).toEqual(['acquire 1', 'release 0', 'throttle true', 'shed 0.5'])
  })

  test.each([
    ['no authority', undefined, status.INVALID_ARGUMENT],
    ['an older term', { ...authority, placementTerm: 4 }, status.FAILED_PRECONDITION],
    ['another registration', { ...authority, nodeEpoch: 9 }, status.FAILED_PRECONDITION],
    ['older metadata', { ...authority, metadataIndex: 99 }, status.FAILED_PRECONDITION],
  ])('failure case 14: refuses %s, and does nothing', (_, given, code) => {
    const { service, done } = setUp()
    call(service.acquireShards, { authority, shards: [] })
    const shed = { authority: given, share: 1, ...common }
    expect(call(service.shed, shed)).toBe(code)
    expect(call(service.releaseShards, { authority: given, shards: [], reason: '' })).toBe(code)
    expect(done).toEqual(['acquire 0'])
  })

  test('refuses the leader before as soon as there is another', () => {
    const { service, placement } = setUp()
    const old = { authority, shards: [] }
    expect(call(service.acquireShards, old)).toEqual({})
    placement.term = 6
    expect(call(service.acquireShards, old)).toBe(status.FAILED_PRECONDITION)
  })

  test('takes lower metadata from a newer term, whose leader may have applied less', () => {
    const { service } = setUp()
    call(service.acquireShards, { authority, shards: [] })
    const next = { placementTerm: 6, nodeEpoch: 10, metadataIndex: 50 }
    expect(call(service.acquireShards, { authority: next, shards: [] })).toEqual({})
  })

  test('refuses everything before it is registered', () => {
    const { service, placement } = setUp()
    placement.nodeEpoch = 0
    const none = { ...authority, nodeEpoch: 0 }
    expect(call(service.acquireShards, { authority: none, shards: [] })).toBe(
      status.FAILED_PRECONDITION,
    )
  })

  test.each([0, -1, 1.01, Number.NaN])('refuses to move a share of %s', (share) => {
    const { service, done } = setUp()
    expect(call(service.shed, { authority, share, ...common })).toBe(status.INVALID_ARGUMENT)
    expect(done).toEqual([])
  })
})
