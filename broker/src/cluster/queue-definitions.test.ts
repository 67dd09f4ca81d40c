import { type ServiceError, status } from '@grpc/grpc-js'
import type { placement } from '@robust/proto'
import { describe, expect, test } from 'vitest'
import { DEFAULT_QUEUE_POLICY } from '../core/queues/queue-policy.ts'
import { settle, VirtualClock } from '../testing/virtual-clock.ts'
import { MetadataCache } from './metadata-cache.ts'
import type { PlacementClient } from './placement-client.ts'
import { PlacedQueues } from './queue-definitions.ts'

const CONTENT = {
  ...{ tenant: 't', name: 'q', policy: DEFAULT_QUEUE_POLICY },
  ...{ bindings: ['a'], dialects: {} },
}
const KNOWN = { ...CONTENT, id: 5, version: 7 }

type Answer = { readonly version: number } | { readonly code: status; readonly details: string }

/** A leader that answers as it is told. */
function bench(answers: readonly Answer[]) {
  const asked: placement.ChangeResourcesRequest[] = []
  const left = [...answers]
  const answer = (done: (error: ServiceError | null, reply: unknown) => void): void => {
    const next = left.shift()
    if (next !== undefined && 'code' in next) done(next as unknown as ServiceError, undefined)
    else done(null, next)
  }
  type Done = Parameters<typeof answer>[0]
  const client = {
    changeResources: (request: never, _metadata: unknown, _options: unknown, done: Done) => {
      asked.push(request)
      answer(done)
    },
    getResource: (_request: unknown, _metadata: unknown, _options: unknown, done: Done) =>
      answer(done),
  }
  const ask: PlacementClient['ask'] = (invoke) =>
    new Promise((resolve, reject) => {
      invoke(client as never, (error, reply) => (error ? reject(error) : resolve(reply)))
    })
  const clock = new VirtualClock()
  const metadata = new MetadataCache('b1')
  const told: number[] = []
  let allKnow: () => void = () => undefined
  const mesh = {
    allKnow: (index: number) => {
      told.push(index)
      return new Promise<void>((resolve) => {
        allKnow = resolve
      })
    },
  }
  const learn = (index: number): void => {
    metadata.apply(index, {
      ...{ nodesChanged: [], nodesRemoved: [], shardsChanged: [] },
      ...{ resourcesChanged: [], resourcesRemoved: [] },
    } as placement.Change)
  }
  const queues = new PlacedQueues({ metadata, placement: { ask }, mesh, clock })
  return { queues, asked, clock, learn, told, finish: () => allKnow() }
}

/** Whether it has ended, and how. */
function watched<T>(promise: Promise<T>) {
  const state: { isOver: boolean; value?: T } = { isOver: false }
  void promise.then((value) => Object.assign(state, { isOver: true, value }))
  return state
}

describe('PlacedQueues', () => {
  test('put ends when this broker knows, and every other', async () => {
    const { queues, asked, learn, told, finish } = bench([{ version: 9 }])
    const put = watched(queues.put(CONTENT, 3))
    await settle()
    expect(asked[0]?.changes).toEqual([
      {
        key: { kind: 'queue', tenant: 't', name: 'q' },
        value: JSON.stringify({ bindings: ['a'], config: {}, dialects: {} }),
        expectedVersion: 3,
      },
    ])
    expect(told).toEqual([])
    learn(9)
    await settle()
    expect(told).toEqual([9])
    expect(put.isOver).toBe(false)
    finish()
    await settle()
    expect(put.value).toBe(9)
  })

  test('put does not wait for ever for a broker that does not answer', async () => {
    const { queues, learn, clock } = bench([{ version: 9 }])
    const put = watched(queues.put(CONTENT, 0))
    learn(9)
    await clock.advance(4_999)
    expect(put.isOver).toBe(false)
    await clock.advance(1)
    expect(put.value).toBe(9)
  })

  test('remove leaves word of what was deleted in the same change', async () => {
    const { queues, asked, clock } = bench([{ version: 9 }])
    const removed = watched(queues.remove(KNOWN))
    await clock.advance(5_000)
    expect(removed.value).toBe(9)
    expect(asked[0]?.changes).toEqual([
      { key: { kind: 'queue', tenant: 't', name: 'q' }, value: undefined, expectedVersion: 7 },
      {
        key: { kind: 'deleted-queue', tenant: 't', name: '5' },
        value: JSON.stringify({ name: 'q' }),
        expectedVersion: undefined,
      },
    ])
  })

  test('another version there is no error, and a refusal says why', async () => {
    const { queues } = bench([
      { code: status.ABORTED, details: 'is at version 4' },
      { code: status.INVALID_ARGUMENT, details: 'lease-ms is a whole number' },
      { code: status.RESOURCE_EXHAUSTED, details: 'there are 1000000' },
      { code: status.UNAVAILABLE, details: 'nobody leads' },
    ])
    expect(await queues.put(CONTENT, 3)).toBeUndefined()
    const refused = { code: 'REFUSED', message: 'lease-ms is a whole number' }
    await expect(queues.put(CONTENT, 3)).rejects.toMatchObject(refused)
    await expect(queues.put(CONTENT, 3)).rejects.toMatchObject({ code: 'REFUSED' })
    await expect(queues.put(CONTENT, 3)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  test('refresh waits until what is there is known, or a moment when nothing is', async () => {
    const { queues, learn, clock } = bench([
      { version: 9 },
      { code: status.NOT_FOUND, details: 'there is no queue' },
    ])
    const refreshed = watched(queues.refresh('t', 'q'))
    await settle()
    expect(refreshed.isOver).toBe(false)
    learn(9)
    await settle()
    expect(refreshed.isOver).toBe(true)
    const gone = watched(queues.refresh('t', 'q'))
    await clock.advance(1_000)
    expect(gone.isOver).toBe(true)
  })
})
