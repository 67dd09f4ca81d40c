/** The autopilot on a running member: looks at its status in intervals and carries out what it decides. */
import {
  LeadershipLostError,
  MembershipChangeRefusedError,
  NotLeaderError,
  StoppedError,
} from '../errors.ts'
import type { Clock } from '../ports/clock.ts'
import type { Raft, RaftLogger } from '../raft.ts'
import {
  Autopilot,
  type AutopilotDecision,
  type AutopilotOptions,
  type MemberHealth,
} from './autopilot.ts'

export interface RunAutopilotOptions extends Partial<AutopilotOptions> {
  readonly clock: Clock
  /** Default 1,000. */
  readonly intervalMs?: number
  readonly logger?: RaftLogger
  /** After each decision: without an error it is committed. */
  readonly onDecision?: (decision: AutopilotDecision, error: Error | undefined) => void
}

export interface RunningAutopilot {
  /** As this member sees it; empty on others than the leader. */
  readonly health: readonly MemberHealth[]
  /** Idempotent. A change that is on its way goes on. */
  stop(): void
}

/** Run it on every member: it acts on the leader only. Stop it before the member. */
export function runAutopilot(
  raft: Pick<Raft, 'status' | 'changeMembership'>,
  options: RunAutopilotOptions,
): RunningAutopilot {
  const { clock, intervalMs = 1_000, logger, onDecision } = options
  const autopilot = new Autopilot(options)
  let isChanging = false
  const carryOut = async (decision: AutopilotDecision): Promise<void> => {
    const { change, reason } = decision
    const fields = { kind: change.kind, member: change.member.id, reason }
    logger?.info('the autopilot changes the members', fields)
    const error = await raft.changeMembership(change).then(
      () => undefined,
      (failure: unknown) => failure,
    )
    if (error !== undefined && !isExpected(error)) throw error
    if (error !== undefined) logger?.warn('the members were not changed', { ...fields, error })
    onDecision?.(decision, error)
  }
  const ticker = clock.every(intervalMs, () => {
    // Looked at while a change is on its way too, so that no time of health is missed.
    const decision = autopilot.advance(raft.status(), clock.nowMs())
    if (decision === undefined || isChanging) return
    isChanging = true
    carryOut(decision)
      .catch((error: unknown) => logger?.error('the autopilot failed', { error }))
      .finally(() => {
        isChanging = false
      })
  })
  return {
    get health() {
      return autopilot.health
    },
    stop: () => ticker.stop(),
  }
}

/** The next look decides anew, on what is then true. */
function isExpected(error: unknown): error is Error {
  return (
    error instanceof MembershipChangeRefusedError ||
    error instanceof NotLeaderError ||
    error instanceof LeadershipLostError ||
    error instanceof StoppedError
  )
}
