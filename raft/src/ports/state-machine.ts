/** The replicated state machine: what the log's commands mean. */

export interface CommittedCommand {
  readonly index: number
  readonly term: number
  readonly command: Uint8Array
}

export interface StateMachine {
  /**
   * Applies committed commands, in log order, each exactly once per life of the state (see restore).
   * Synchronous and deterministic: no clock, random, locale or I/O; time enters as a field of a command.
   * Returns one result per entry, which goes to the proposer if it waits on this member.
   * An exception means the members may differ from here on, so it is fatal for this member;
   * a command that cannot be carried out is a result, not an exception.
   */
  apply(entries: readonly CommittedCommand[]): unknown[]
  /**
   * The whole state as it is at the moment of the call. Later calls of apply and restore must not
   * show in it, even when the chunks are taken later. One at a time. Chunks are read in slices.
   */
  snapshot(): Uint8Array | AsyncIterable<Uint8Array>
  /** Replaces the whole state by that of a snapshot, which was verified. An exception is fatal. */
  restore(snapshot: Uint8Array): void
  /**
   * Optional, instead of restore, for a state that takes long to read: reads the snapshot aside, in slices, so
   * that the event loop goes on, and resolves with what puts the result in the place of the state, at once.
   * Commands may be applied meanwhile, and what came may not be wanted any more. A rejection is fatal.
   */
  prepareRestore?(snapshot: Uint8Array): Promise<() => void>
  /**
   * Optional: a hash of the whole state as it is now, the same on every member that has applied the same.
   * With it the leader has the states compared every `stateCheckMs`; a member whose state deviates from
   * the majority stops. Runs between two commands and holds up everything: keep it incremental, or cheap.
   */
  hash?(): string
}
