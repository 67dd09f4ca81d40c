/**
 * Bugs of other implementations, planted by replacing one rule for the test alone: the seeded simulation
 * must find each of them, and nothing without them. A simulation that finds no bug may just not look.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { SimulationMode } from './simulate.ts'

type Rules = typeof import('../core/membership-rules.ts')
type Quorum = typeof import('../core/quorum.ts')
type Outbox = typeof import('../core/outbox.ts')
type Log = typeof import('../core/log.ts')
type State = typeof import('../core/state.ts')
type Reads = typeof import('../core/read-index.ts')
type Disk = typeof import('./disk.ts')

const SEEDS_MAX = 3_000
/** Not the name of the plan, which stays as it is. */
const MODULES = [
  '../core/membership-rules.ts',
  '../core/quorum.ts',
  '../core/outbox.ts',
  '../core/log.ts',
  '../core/state.ts',
  '../core/read-index.ts',
  './disk.ts',
]

afterEach(() => {
  for (const path of MODULES) vi.doUnmock(path)
  vi.resetModules()
})

/** The first seed whose run fails, and how; over a core that holds the mutant. */
async function hunt(mode: SimulationMode, seedsMax = SEEDS_MAX): Promise<string | undefined> {
  vi.resetModules()
  const { simulate } = await import('./simulate.ts')
  for (let seed = 1; seed <= seedsMax; seed += 1) {
    try {
      simulate(seed, mode)
    } catch (error) {
      console.info('found by', String(error))
      return String(error)
    }
  }
  return undefined
}

function plant<M extends object>(path: string, bug: (real: M) => Partial<M>): void {
  vi.doMock(path, async (original) => {
    const real = await original<M>()
    return { ...real, ...bug(real) }
  })
}

const plantRule = (bug: Partial<Rules>): void => plant<Rules>(MODULES[0]!, () => bug)

describe('a planted bug is found by the simulation', () => {
  it('none: nothing is found', async () => {
    expect(await hunt('safety', 20)).toBeUndefined()
    expect(await hunt('liveness', 20)).toBeUndefined()
  })

  it('a commit by counting who has an entry of an older term [LogCabin 44, CCF, liferaft]', async () => {
    plant<Quorum>('../core/quorum.ts', () => ({ countsForCommit: () => true }))
    expect(await hunt('safety')).toMatch(/is committed in|lacks committed|differs at/)
  }, 120_000)

  it('a change, and a read, before an own-term commit [raft-dev 2015, etcd 7331, tikv 9351]', async () => {
    plantRule({ hasOwnTermCommit: () => true })
    expect(await hunt('safety')).toMatch(/misses what was committed|two changes|lacks|differs/)
  }, 120_000)

  it('a second change while one is pending', async () => {
    plantRule({ isChangePending: () => false })
    expect(await hunt('safety')).toBeDefined()
  }, 120_000)

  it('learners that vote and count', async () => {
    plantRule({ isVoter: () => true })
    expect(await hunt('safety')).toBeDefined()
  }, 120_000)

  it('a transfer that never ends [hashicorp 696]', async () => {
    plantRule({ isTransferOver: () => false })
    expect(await hunt('liveness')).toMatch(/no progress/)
  }, 120_000)

  it('a quorum that is off by one [openraft]', async () => {
    plant<Quorum>('../core/quorum.ts', () => ({
      quorumValue: (values) =>
        [...values].sort((a, b) => b - a)[Math.max(0, Math.ceil(values.length / 2) - 1)] ?? 0,
    }))
    expect(await hunt('safety')).toMatch(/is committed by|misses what was committed/)
  }, 120_000)

  it('a promise before the write that keeps it is durable [NATS 7564, etcd 14370]', async () => {
    plant<Outbox>('../core/outbox.ts', ({ Outbox }) => ({
      Outbox: class extends Outbox {
        override hold(message: Parameters<typeof this.push>[0]): void {
          this.push(message)
        }
      },
    }))
    expect(await hunt('safety')).toMatch(/would forget|has durably/)
  }, 120_000)

  it('a vote that compares the index before the term [async-raft]', async () => {
    plant<Log>('../core/log.ts', ({ RaftLog }) => ({
      RaftLog: class extends RaftLog {
        override isUpToDate(lastLogIndex: number): boolean {
          return lastLogIndex >= this.lastIndex
        }
      },
    }))
    expect(await hunt('safety')).toMatch(/lacks committed|differs at|is committed/)
  }, 120_000)

  it('an append that drops everything behind its predecessor [async-raft, CCF]', async () => {
    plant<Log>('../core/log.ts', ({ RaftLog }) => ({
      RaftLog: class extends RaftLog {
        override merge(entries: Parameters<Log['RaftLog']['prototype']['merge']>[0]) {
          const first = entries[0]
          const [own] = first === undefined ? [] : this.slice(first.index, 0)
          // A conflict is feigned, so that the real code truncates.
          if (own === undefined || first === undefined) return super.merge(entries)
          super.merge([{ ...first, term: Number.MAX_SAFE_INTEGER }])
          return super.merge(entries)
        }
      },
    }))
    expect(await hunt('safety')).toBeDefined()
  }, 120_000)

  it('a late answer to heartbeats that confirms a newer read [etcd 20418]', async () => {
    plant<Reads>('../core/read-index.ts', ({ ReadQueue }) => ({
      ReadQueue: class extends ReadQueue {
        #confirmed = 0
        override confirm(round: number) {
          const isNew = round > this.#confirmed
          this.#confirmed = Math.max(this.#confirmed, round)
          return super.confirm(isNew ? Number.MAX_SAFE_INTEGER : 0)
        }
      },
    }))
    expect(await hunt('safety')).toMatch(/misses what was committed/)
  }, 120_000)

  it('a vote that is given although a leader lives [liveness under partial partitions]', async () => {
    plant<State>('../core/state.ts', () => ({ hasLiveLeader: () => false }))
    expect(await hunt('liveness')).toMatch(/was deposed|no progress/)
  }, 120_000)

  it('term and vote in two writes, with a crash between them [hashicorp vote store]', async () => {
    plant<Disk>('./disk.ts', ({ SimulatedDisk }) => ({
      SimulatedDisk: class extends SimulatedDisk {
        override write(write: Parameters<Disk['SimulatedDisk']['prototype']['write']>[0]): void {
          const { hardState } = write
          if (hardState === undefined) {
            super.write(write)
            return
          }
          // The new term beside the old vote, which is of another term.
          const { votedFor } = this.written.hardState
          super.write({ ...write, hardState: { ...hardState, votedFor } })
        }
      },
    }))
    expect(await hunt('safety')).toMatch(/would forget|votes for/)
  }, 120_000)

  it('a flipped bit that is not noticed [NATS 7549]', async () => {
    vi.doMock('../record.ts', async (original) => {
      const real = await original<typeof import('../record.ts')>()
      return { ...real, decodeEntry: (bytes: Uint8Array) => real.decodeEntry(heal(bytes, real)) }
    })
    try {
      expect(await hunt('safety')).toBeDefined()
    } finally {
      vi.doUnmock('../record.ts')
    }
  }, 120_000)
})

/** The checksum is made to fit the damage. */
function heal(bytes: Uint8Array, real: typeof import('../record.ts')): Uint8Array {
  try {
    real.decodeRecord(bytes)
    return bytes
  } catch {
    return real.encodeRecord(bytes.subarray(5))
  }
}
