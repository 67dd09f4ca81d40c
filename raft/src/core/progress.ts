/**
 * What a leader knows of one peer's log.
 *
 *   probe ── accepted ──> replicate ── refused, restarted ──> probe
 *   probe, replicate ── needs a compacted entry ──> snapshot ── answered ──> probe
 */

export type ProgressState = 'probe' | 'replicate' | 'snapshot'

export class Progress {
  readonly id: string
  /** Durable on the peer up to here; proven by its answers, never goes back within a term. */
  matchIndex = 0
  nextIndex: number
  state: ProgressState = 'probe'
  /** In probe: one message is out, wait for its answer or for the next heartbeat's. */
  probeSent = false
  /** In snapshot: the index that must be reached. */
  snapshotIndex = 0
  /** Tick before which no snapshot is offered again. */
  snapshotRetryTick = 0
  /** The highest heartbeat round the peer answered. */
  ackedRound = 0
  /** Tick of the last answer in this term; the start of leadership counts as one. */
  lastActiveTick: number
  /** The commit index it was last told. */
  sentCommitIndex = 0
  incarnation: string | undefined
  /** Set once the member is not one any more, with that committed: from this tick on it gets nothing. */
  leaveTick: number | undefined
  /** Each append on its way, ascending. */
  #inFlight: { readonly lastIndex: number; readonly bytes: number }[] = []
  #bytesInFlight = 0

  constructor(id: string, start: { readonly nextIndex: number; readonly tick: number }) {
    this.id = id
    this.nextIndex = start.nextIndex
    this.lastActiveTick = start.tick
  }

  get inFlight(): number {
    return this.#inFlight.length
  }

  get bytesInFlight(): number {
    return this.#bytesInFlight
  }

  isPaused(limits: { appendsInFlightMax: number; bytesInFlightMax: number }): boolean {
    switch (this.state) {
      case 'probe':
        return this.probeSent
      case 'replicate':
        return (
          this.#inFlight.length >= limits.appendsInFlightMax ||
          this.#bytesInFlight >= limits.bytesInFlightMax
        )
      case 'snapshot':
        return true
    }
  }

  /** `bytes`: of the entries; an append without any is not counted. */
  sent(lastIndex: number, bytes: number): void {
    if (this.state === 'probe') {
      this.probeSent = true
      return
    }
    if (bytes === 0) return
    this.nextIndex = lastIndex + 1
    this.#inFlight.push({ lastIndex, bytes })
    this.#bytesInFlight += bytes
  }

  /** Returns whether the peer was found to have more than was known. */
  accepted(index: number): boolean {
    const advanced = index > this.matchIndex
    this.matchIndex = Math.max(this.matchIndex, index)
    this.nextIndex = Math.max(this.nextIndex, index + 1)
    let arrived = 0
    for (const append of this.#inFlight) {
      if (append.lastIndex > index) break
      this.#bytesInFlight -= append.bytes
      arrived += 1
    }
    if (arrived > 0) this.#inFlight.splice(0, arrived)
    if (this.state === 'probe') this.becomeReplicate()
    if (this.state === 'snapshot' && this.matchIndex >= this.snapshotIndex) this.becomeReplicate()
    return advanced
  }

  /** Returns false for an answer that says nothing new. `agreeIndex`: where the logs may agree. */
  refused(refusedIndex: number, agreeIndex: number): boolean {
    if (this.state === 'snapshot') return false
    if (this.state === 'replicate') {
      if (refusedIndex <= this.matchIndex) return false
      this.becomeProbe()
      return true
    }
    if (refusedIndex !== this.nextIndex - 1) return false
    this.nextIndex = Math.max(Math.min(refusedIndex, agreeIndex + 1), this.matchIndex + 1)
    this.probeSent = false
    return true
  }

  becomeProbe(): void {
    this.state = 'probe'
    this.probeSent = false
    this.nextIndex = this.matchIndex + 1
    this.#forgetInFlight()
  }

  becomeReplicate(): void {
    this.state = 'replicate'
    this.nextIndex = this.matchIndex + 1
    this.#forgetInFlight()
  }

  becomeSnapshot(index: number): void {
    this.state = 'snapshot'
    this.snapshotIndex = index
    this.#forgetInFlight()
  }

  #forgetInFlight(): void {
    this.#inFlight = []
    this.#bytesInFlight = 0
  }
}
