/**
 * Bugs of other implementations, planted by replacing one rule for the test alone: the scenarios and the
 * seeded simulation must find each of them, and nothing without them. A simulation that finds no bug may
 * just not look.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'

type Rules = typeof import('./membership-rules.ts')
type Quorum = typeof import('./quorum.ts')
type Outbox = typeof import('./outbox.ts')
type Log = typeof import('./log.ts')

afterEach(() => {
  vi.doUnmock('./membership-rules.ts')
  vi.doUnmock('./quorum.ts')
  vi.doUnmock('./outbox.ts')
  vi.doUnmock('./log.ts')
  vi.resetModules()
})

/** The simulation over a core that holds the mutant. */
async function load() {
  vi.resetModules()
  return {
    ...(await import('../testing/membership-run.ts')),
    ...(await import('../testing/scenarios.ts')),
  }
}

function plantRule(bug: Partial<Rules>): void {
  vi.doMock('./membership-rules.ts', async (original) => ({ ...(await original<Rules>()), ...bug }))
}

/** The first seed whose run fails, and how. */
async function hunt(seedsMax: number): Promise<string | undefined> {
  const { simulateMembership } = await load()
  for (let seed = 1; seed <= seedsMax; seed += 1) {
    try {
      simulateMembership(seed)
    } catch (error) {
      console.info('found', { seed, error: String(error) })
      return `seed ${seed}: ${String(error)}`
    }
  }
  return undefined
}

const SEEDS_MAX = 200

describe('a planted bug is found by the simulation', () => {
  it('none: nothing is found', async () => {
    expect(await hunt(10)).toBeUndefined()
    const { changeBeforeOwnTermCommit, longerLogOfAnOlderTerm, transferToOneThatIsAway } =
      await load()
    longerLogOfAnOlderTerm()
    expect(changeBeforeOwnTermCommit().refusedOnce).toBe(true)
    transferToOneThatIsAway()
  })

  it('a change before an own-term commit [raft-dev 2015, braft 182, copycat 23]', async () => {
    plantRule({ hasOwnTermCommit: () => true })
    const { changeBeforeOwnTermCommit } = await load()
    expect(() => changeBeforeOwnTermCommit()).toThrow(/lacks committed|differ|is committed/)
  })

  it('a second change while one is pending', async () => {
    plantRule({ isChangePending: () => false })
    const found = await hunt(SEEDS_MAX)
    expect(found).toMatch(/seed/)
  })

  it('learners that vote and count', async () => {
    plantRule({ isVoter: () => true })
    const found = await hunt(SEEDS_MAX)
    expect(found).toMatch(/seed/)
  })

  it('a transfer that never ends [hashicorp 696]', async () => {
    plantRule({ isTransferOver: () => false })
    const { transferToOneThatIsAway } = await load()
    expect(() => transferToOneThatIsAway()).toThrow('the transfer goes on for ever')
  })

  it('a quorum that is off by one [openraft]', async () => {
    vi.doMock('./quorum.ts', async (original) => ({
      ...(await original<Quorum>()),
      quorumValue: (values: readonly number[]) =>
        [...values].sort((a, b) => b - a)[Math.max(0, Math.ceil(values.length / 2) - 1)] ?? 0,
    }))
    const found = await hunt(SEEDS_MAX)
    expect(found).toMatch(/seed/)
  })

  it('an acknowledgement before the write is durable [NATS 7564, etcd 14370]', async () => {
    vi.doMock('./outbox.ts', async (original) => {
      const real = await original<Outbox>()
      class Hasty extends real.Outbox {
        override hold(message: Parameters<typeof this.push>[0]): void {
          this.push(message)
        }
      }
      return { ...real, Outbox: Hasty }
    })
    const found = await hunt(SEEDS_MAX)
    expect(found).toMatch(/seed/)
  })

  it('a vote that compares the index before the term [async-raft]', async () => {
    vi.doMock('./log.ts', async (original) => {
      const real = await original<Log>()
      class Careless extends real.RaftLog {
        override isUpToDate(lastLogIndex: number): boolean {
          return lastLogIndex >= this.lastIndex
        }
      }
      return { ...real, RaftLog: Careless }
    })
    const { longerLogOfAnOlderTerm } = await load()
    expect(() => longerLogOfAnOlderTerm()).toThrow('lacks committed')
  })
})
