/** The errors of this package. Each says whether the outcome of the operation is known. */

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

/** The bytes of a snapshot are not what its header says. */
export class SnapshotDamagedError extends Error {
  override readonly name = 'SnapshotDamagedError'
}
