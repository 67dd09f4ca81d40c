/**
 * What to do with a member whose log cannot be read (start rejects with LogDamagedError), whose disk is
 * lost, or whose state deviates: it leaves, its stores are wiped, it comes back as a learner under a new
 * id, catches up, and is promoted. Under its old id it could vote twice in a term, and the others would
 * count entries that it has lost; so an id is never used again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { RaftMember } from '../core/configuration.ts'
import type { MembershipChange } from '../core/membership.ts'
import type { ChangeRefusal } from '../core/membership-rules.ts'
import { MembershipChangeRefusedError } from '../errors.ts'
import type { RaftStatus } from '../raft.ts'

/** The leader, here or over the network: a Raft of this process has both. Rejections end the operation. */
export interface ClusterAccess {
  status(): View | Promise<View>
  /** @throws MembershipChangeRefusedError, which may be answered with another try. */
  changeMembership(change: MembershipChange): Promise<unknown>
}

type View = Pick<RaftStatus, 'members' | 'configurationIndex'>

export interface Patience {
  /** How long to ask again while a change cannot be made yet. Default 30,000. */
  readonly timeoutMs?: number
  /** Between two tries. Default 100. */
  readonly retryMs?: number
}

export interface ReplaceMemberOptions extends Patience {
  readonly cluster: ClusterAccess
  readonly damagedId: string
  /** With an id that was never a member of this cluster. */
  readonly replacement: Pick<RaftMember, 'id' | 'address'>
  /** Empties the stores of the damaged member, durably; see wipeStores. Called once it has left. */
  readonly wipe: () => Promise<void>
}

/** Another try may go through. What is left out will not get better by waiting. */
const PASSING: ReadonlySet<ChangeRefusal> = new Set([
  'no-own-term-commit',
  'change-pending',
  'configuration-changed',
  'transfer-in-progress',
  'learner-behind',
])

/**
 * Removes the damaged member, wipes it, adds its replacement as a learner; start that one with
 * `join: true` then. Each step is skipped when it is done already, so it may be called again after a
 * failure. The damaged member must not be running. Promote with promoteWhenCaughtUp, or an autopilot.
 * @throws MembershipChangeRefusedError when the cluster cannot spare the member (`last-voter`) or in time;
 * what `cluster` and `wipe` throw.
 */
export async function replaceDamagedMember(options: ReplaceMemberOptions): Promise<void> {
  const { cluster, damagedId, replacement, wipe } = options
  if (replacement.id === damagedId) {
    throw new RangeError(`${damagedId} must come back under a new id: it could vote twice`)
  }
  // It is added last, so all was done; what it has written since must not be wiped.
  const { members: membersBefore } = await cluster.status()
  if (membersBefore.some(({ id }) => id === replacement.id)) return
  await persist(options, async () => {
    const { members, configurationIndex } = await cluster.status()
    if (!members.some(({ id }) => id === damagedId)) return
    await cluster.changeMembership({
      kind: 'remove',
      member: { id: damagedId },
      expectedConfigurationIndex: configurationIndex,
    })
  })
  await wipe()
  await persist(options, async () => {
    const { members, configurationIndex } = await cluster.status()
    if (members.some(({ id }) => id === replacement.id)) return
    await cluster.changeMembership({
      kind: 'add-learner',
      member: replacement,
      expectedConfigurationIndex: configurationIndex,
    })
  })
}

/** Makes a voter of a learner as soon as it has caught up. */
export async function promoteWhenCaughtUp(
  cluster: ClusterAccess,
  id: string,
  patience: Patience = {},
): Promise<void> {
  await persist(patience, async () => {
    const { members, configurationIndex } = await cluster.status()
    if (members.some((member) => member.id === id && member.role === 'voter')) return
    await cluster.changeMembership({
      kind: 'promote',
      member: { id },
      expectedConfigurationIndex: configurationIndex,
    })
  })
}

async function persist(
  { timeoutMs = 30_000, retryMs = 100 }: Patience,
  attempt: () => Promise<void>,
): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += retryMs) {
    try {
      await attempt()
      return
    } catch (error) {
      const isPassing = error instanceof MembershipChangeRefusedError && PASSING.has(error.reason)
      if (!isPassing || waitedMs >= timeoutMs) throw error
    }
    await sleep(retryMs)
  }
}
