/** The errors of this package. Each says whether the outcome of the operation is known. */

import type { ChangeRefusal } from './core/membership-rules.ts'
import type { TransferRefusal } from './core/transfer.ts'

/** Nothing was done: another member leads, or none does. */
export class NotLeaderError extends Error {
  override readonly name = 'NotLeaderError'
  readonly leaderId: string | undefined
  readonly leaderAddress: string | undefined

  constructor(leader?: { readonly id: string; readonly address: string | undefined }) {
    super(leader === undefined ? 'no leader is known' : `the leader is ${leader.id}`)
    this.leaderId = leader?.id
    this.leaderAddress = leader?.address
  }
}

/** Nothing was done: too many bytes wait to be committed. */
export class OverloadedError extends Error {
  override readonly name = 'OverloadedError'
  readonly uncommittedBytes: number

  constructor(uncommittedBytes: number) {
    super(`${uncommittedBytes} bytes of proposals wait to be committed`)
    this.uncommittedBytes = uncommittedBytes
  }
}

/** Nothing was done: one command is larger than the limit. */
export class CommandTooLargeError extends Error {
  override readonly name = 'CommandTooLargeError'

  constructor(sizes: { readonly bytes: number; readonly bytesMax: number }) {
    super(`a command of ${sizes.bytes} bytes is over the limit of ${sizes.bytesMax}`)
  }
}

/** Nothing was done: the change of members is not allowed now, or does not fit; `reason` says why. */
export class MembershipChangeRefusedError extends Error {
  override readonly name = 'MembershipChangeRefusedError'
  readonly reason: ChangeRefusal

  constructor(reason: ChangeRefusal) {
    super(`the members are not changed: ${reason}`)
    this.reason = reason
  }
}

/** Nothing was done: the leader hands over. Ask again in a moment, most likely `to`. */
export class LeadershipTransferringError extends Error {
  override readonly name = 'LeadershipTransferringError'
  readonly to: string

  constructor(to: string) {
    super(`the leadership goes over to ${to}`)
    this.to = to
  }
}

/** Why the leadership did not go over to the member that was meant. */
export type TransferFailure = TransferRefusal | 'timed-out' | 'another-leads'

/**
 * The leadership did not go over in time, or went elsewhere. Unless another leads, this member still may;
 * after `timed-out` a late success is possible.
 */
export class LeadershipTransferFailedError extends Error {
  override readonly name = 'LeadershipTransferFailedError'
  readonly reason: TransferFailure

  constructor(reason: TransferFailure) {
    super(`the leadership was not transferred: ${reason}`)
    this.reason = reason
  }
}

/** The outcome is UNKNOWN: the command may have been, or may yet be, committed. */
export class LeadershipLostError extends Error {
  override readonly name = 'LeadershipLostError'
}

/** Nothing was done: this member is not running. */
export class StoppedError extends Error {
  override readonly name = 'StoppedError'
}

/** The durable log cannot be trusted. This member must not vote, lead or answer from it. */
export class LogDamagedError extends Error {
  override readonly name = 'LogDamagedError'
}

/** The durable log belongs to another cluster or node. */
export class LogIdentityError extends Error {
  override readonly name = 'LogIdentityError'
}

/**
 * Fatal for this member: at `index` its state differed from that of a majority. Its memory or its
 * snapshots are corrupt, or its apply is not deterministic. Started again it builds the state anew from
 * snapshot and log; if it deviates again it must be replaced (see replaceDamagedMember).
 */
export class StateDeviationError extends Error {
  override readonly name = 'StateDeviationError'
  readonly index: number
  readonly hash: string
  readonly expected: string

  constructor(found: { readonly index: number; readonly hash: string; readonly expected: string }) {
    super(`at ${found.index} the state is ${found.hash}, that of the majority ${found.expected}`)
    this.index = found.index
    this.hash = found.hash
    this.expected = found.expected
  }
}

/** The bytes of a snapshot are not what its header says. */
export class SnapshotDamagedError extends Error {
  override readonly name = 'SnapshotDamagedError'
}

/** Another process has the folder of the log. */
export class LogInUseError extends Error {
  override readonly name = 'LogInUseError'

  constructor(directory: string) {
    super(`another process uses ${directory}`)
  }
}

/** The folder holds a log of an earlier form, which this version does not read. */
export class LogFormatError extends Error {
  override readonly name = 'LogFormatError'

  constructor() {
    super(
      'the folder holds a log in LevelDB, which this version does not read: remove this member from its ' +
        'cluster while the others run the earlier version, and add it again under a new id with an empty folder',
    )
  }
}
