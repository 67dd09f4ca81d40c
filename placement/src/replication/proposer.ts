/** Commands into the log. The leader's wall time is stamped here and nowhere else. */
import {
  CommandTooLargeError,
  LeadershipLostError,
  LeadershipTransferringError,
  NotLeaderError,
  OverloadedError,
  type Raft,
  StoppedError,
} from 'raft-ts'
import { PlacementError } from '../errors.ts'
import type { ApplyResult } from '../metadata/apply.ts'
import { type Command, encodeCommand } from '../metadata/commands.ts'

type Untimed<C> = C extends unknown ? Omit<C, 'timeMs'> : never

/** A command before the wall time is stamped on it. */
export type Decision = Untimed<Command>

export interface Proposer {
  /**
   * Resolves when the command is committed and applied here.
   * @throws PlacementError NOT_LEADER, NO_LEADER, OVERLOADED, INVALID (nothing was done), OUTCOME_UNKNOWN.
   */
  propose(decision: Decision): Promise<ApplyResult>
}

export function createProposer(raft: Raft, wallClockMs: () => number): Proposer {
  return {
    propose: async (decision) => {
      const command = { ...decision, timeMs: wallClockMs() } as Command
      try {
        const { result } = await raft.propose(encodeCommand(command))
        return result as ApplyResult
      } catch (error) {
        throw asPlacementError(error)
      }
    },
  }
}

/** What raft-ts says, in the words of this program; anything else is passed on. */
export function asPlacementError(error: unknown): unknown {
  if (error instanceof NotLeaderError) return notLeader(error.leaderAddress, error)
  if (error instanceof LeadershipLostError) {
    return new PlacementError('OUTCOME_UNKNOWN', error.message, { cause: error })
  }
  if (error instanceof LeadershipTransferringError) {
    return new PlacementError('NO_LEADER', error.message, { cause: error })
  }
  if (error instanceof OverloadedError) {
    return new PlacementError('OVERLOADED', error.message, { cause: error })
  }
  if (error instanceof CommandTooLargeError) {
    return new PlacementError('INVALID', error.message, { cause: error })
  }
  if (error instanceof StoppedError) {
    return new PlacementError('NO_LEADER', 'this member stops', { cause: error })
  }
  return error
}

export function notLeader(leaderAddress: string | undefined, cause?: unknown): PlacementError {
  return leaderAddress === undefined
    ? new PlacementError('NO_LEADER', 'no leader is known', { cause })
    : new PlacementError('NOT_LEADER', `the leader is at ${leaderAddress}`, {
        leaderAddress,
        cause,
      })
}
