/**
 * The conformance suite of the storage port: every adapter runs it, and what it asks for is what the rest
 * of the system relies on. Knows nothing but the port.
 */
import { afterEach, beforeEach, describe } from 'vitest'
import type { StorageAdapter } from '../storage-adapter.ts'
import { describeClients } from './clients.ts'
import { describeConcurrency } from './concurrency.ts'
import { describeCrash } from './crash.ts'
import { describeDifferential } from './differential.ts'
import { describeDurability } from './durability.ts'
import { describeFencing } from './fencing.ts'
import { describeKeys } from './keys.ts'
import { describeLimits } from './limits.ts'
import { describeLogs } from './logs.ts'

/** For tests of what the suite does not know: an adapter's own faults. */
export * from './fixtures.ts'

export interface StorageAdapterUnderTest {
  /** A new adapter with no data. The suite stops it. */
  create(): Promise<StorageAdapter>
  /**
   * Given after `create` when `durable`: the adapter that it returned has been stopped, this one is over
   * the same data.
   */
  reopen?(): Promise<StorageAdapter>
  /** Another adapter over the data of the running test, where there can be one. The suite stops it. */
  another?(): Promise<StorageAdapter>
  /**
   * Kills without a word what holds the data, and starts it again; the adapter of the running test goes on
   * by itself.
   */
  crash?(): Promise<void>
  /** What was committed outlives `stop`. */
  readonly durable: boolean
  /** Only what differs where the data is held by another process: new starts, two clients, a crash. */
  readonly faultsOnly?: boolean
}

/** What the parts of the suite get: the adapter of the running test. */
export interface Subject {
  readonly adapter: StorageAdapter
  /** Stops the adapter and goes on with a new one over the same data. */
  reopen(): Promise<void>
}

export function describeStorageAdapter(name: string, underTest: StorageAdapterUnderTest): void {
  describe(`${name} as a storage adapter`, () => {
    let adapter: StorageAdapter
    const subject: Subject = {
      get adapter() {
        return adapter
      },
      async reopen() {
        if (!underTest.reopen) throw new Error(`${name} cannot be opened again`)
        await adapter.stop()
        adapter = await underTest.reopen()
      },
    }
    beforeEach(async () => {
      adapter = await underTest.create()
    })
    afterEach(async () => {
      await adapter.stop()
    })
    if (underTest.faultsOnly !== true) {
      describeFencing(subject)
      describeLogs(subject)
      describeKeys(subject)
      describeConcurrency(subject)
      describeLimits(subject, underTest.durable)
      describeDifferential(subject, underTest.durable)
    }
    if (underTest.durable) describeDurability(subject)
    if (underTest.another) describeClients(subject, underTest.another)
    if (underTest.crash) describeCrash(subject, underTest.crash)
  })
}
