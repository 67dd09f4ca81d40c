/**
 * The conformance suite of the storage port: every adapter runs it, and what it asks for is what the rest
 * of the system relies on. Knows nothing but the port.
 */
import { afterEach, beforeEach, describe } from 'vitest'
import type { StorageAdapter } from '../storage-adapter.ts'
import { describeConcurrency } from './concurrency.ts'
import { describeDurability } from './durability.ts'
import { describeFencing } from './fencing.ts'
import { describeKeys } from './keys.ts'
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
  /** What was committed outlives `stop`. */
  readonly durable: boolean
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
    describeFencing(subject)
    describeLogs(subject)
    describeKeys(subject)
    describeConcurrency(subject)
    if (underTest.durable) describeDurability(subject)
  })
}
