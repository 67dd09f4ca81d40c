import { createMemoryStorage, StorageError } from '@robust/storage-adapters'
import { beforeEach, describe, expect, test } from 'vitest'
import { VirtualClock } from '../testing/virtual-clock.ts'
import { StorageHealth } from './storage-health.ts'

let clock: VirtualClock
let isIdle: boolean
let failure: StorageError | undefined
let asked: number
let said: string[]
let health: StorageHealth

beforeEach(() => {
  clock = new VirtualClock()
  const storage = createMemoryStorage()
  isIdle = true
  failure = new StorageError('UNAVAILABLE', 'away')
  asked = 0
  said = []
  health = new StorageHealth({
    clock,
    isIdle: () => isIdle,
    storage: {
      stats: (shard) => {
        asked++
        return failure === undefined ? storage.stats(shard) : Promise.reject(failure)
      },
    },
    log: {
      info: (_fields, what) => said.push(what),
      error: (_fields, what) => said.push(what),
    },
  })
})

describe('the health of storage', () => {
  test('comes back when it answers a broker that has no shard any more', async () => {
    health.failed({}, 'gone')
    await clock.advance(3_000)
    expect(health.isAvailable).toBe(false)
    failure = undefined
    await clock.advance(1_000)
    expect(health.isAvailable).toBe(true)
    expect(said).toEqual(['gone', 'storage answers again'])
    const before = asked
    await clock.advance(10_000)
    expect(asked).toBe(before)
  })

  test('is what the shards say while there are any, and is said once', async () => {
    isIdle = false
    failure = undefined
    health.failed({}, 'gone')
    health.failed({}, 'gone')
    await clock.advance(10_000)
    expect([health.isAvailable, asked]).toEqual([false, 0])
    health.answered()
    health.answered()
    expect(said).toEqual(['gone', 'storage answers again'])
  })

  test('counts an error of storage itself as an answer', async () => {
    failure = new StorageError('FENCED', 'no')
    health.failed({}, 'gone')
    await clock.advance(1_000)
    expect(health.isAvailable).toBe(true)
  })

  test('asks no more when it is stopped', async () => {
    health.failed({}, 'gone')
    health.stop()
    await clock.advance(10_000)
    expect(asked).toBeLessThan(2)
  })
})
