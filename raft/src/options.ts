/** Times and bounds of a member, with their defaults. */

export interface RaftTimings {
  /** How often a leader proves that it lives. */
  readonly heartbeatMs: number
  /** A follower that hears no leader waits a random time in this range; a leader without a majority for
   * electionMinMs steps down. */
  readonly electionMinMs: number
  readonly electionMaxMs: number
  /** The same range while nothing was ever in the log and no leader was heard, so that a new cluster
   * elects at once. Safe: a pre-vote needs a majority, and a member with a log refuses one without. */
  readonly bootstrapElectionMinMs: number
  readonly bootstrapElectionMaxMs: number
  /** The resolution of all of these. */
  readonly tickMs: number
  /** A member whose write takes longer neither leads nor campaigns. */
  readonly storageStallMs: number
  /** How often a leader has the states compared, if the state machine has a hash and something was
   * proposed since. 0: never. */
  readonly stateCheckMs: number
}

export const DEFAULT_TIMINGS: RaftTimings = {
  heartbeatMs: 150,
  electionMinMs: 1_000,
  electionMaxMs: 2_000,
  bootstrapElectionMinMs: 50,
  bootstrapElectionMaxMs: 300,
  tickMs: 50,
  storageStallMs: 5_000,
  stateCheckMs: 60_000,
}

export interface RaftLimits {
  /** Of one command. Larger than any message bound below is no contradiction: one entry always fits. */
  readonly commandBytesMax: number
  /** Of the entries in one append message. */
  readonly appendBytesMax: number
  /** Append messages on their way to one peer, and the bytes of their entries: whichever is reached. */
  readonly appendsInFlightMax: number
  readonly bytesInFlightMax: number
  /** With so many on their way, the next waits until it is full or one is answered: the peer could not
   * write it sooner, and what comes meanwhile goes with it. */
  readonly partAppendsInFlightMax: number
  /** Of proposals that are not committed; more are refused as overload. */
  readonly uncommittedBytesMax: number
  /** Reads that wait for their barrier; more are refused as overload. */
  readonly pendingReadsMax: number
  /** A learner that lacks more entries is not made a voter. */
  readonly promoteLagEntriesMax: number
  /** Of the entries in one write to the log store. */
  readonly writeBytesMax: number
  /** A snapshot is taken when so many bytes were applied since the last, or so many entries that are
   * together no smaller than it. */
  readonly snapshotEntries: number
  readonly snapshotBytes: number
  /** Entries, but not more than these bytes, kept behind a snapshot for followers that lag a little. */
  readonly trailingEntries: number
  readonly trailingBytes: number
}

export const DEFAULT_LIMITS: RaftLimits = {
  commandBytesMax: 4 * 1024 * 1024,
  appendBytesMax: 512 * 1024,
  appendsInFlightMax: 32,
  bytesInFlightMax: 8 * 1024 * 1024,
  partAppendsInFlightMax: 2,
  uncommittedBytesMax: 16 * 1024 * 1024,
  pendingReadsMax: 10_000,
  promoteLagEntriesMax: 200,
  writeBytesMax: 2 * 1024 * 1024,
  snapshotEntries: 10_000,
  snapshotBytes: 32 * 1024 * 1024,
  trailingEntries: 2_000,
  trailingBytes: 4 * 1024 * 1024,
}
