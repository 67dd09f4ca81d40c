/**
 * How the records of one log are delivered to the members of a group that share them: each record to one member at a
 * time, under a lock that ends by itself, up to a number of times. Everything below `start` is done; above what was
 * looked at nothing is known. Pure: the caller has the clock, the log and the storage.
 */

/** What a member says of a record that it was given. */
export type Verdict =
  | 'accept'
  /** It is given to another, unless it was given too often. */
  | 'release'
  | 'reject'
  /** The lock lasts anew. */
  | 'renew'

/** Records next to each other that are alike. `done`: accepted, rejected, or given too often. */
interface Run {
  first: number
  /** The last one included. */
  last: number
  state: 'available' | 'acquired' | 'done'
  /** How often they were given. */
  count: number
  /** That has them; empty: none. */
  member: string
  untilMs: number
}

export interface AcquiredRun {
  readonly first: number
  readonly last: number
  readonly count: number
}

/** As it is stored: who has what is not, it is given again. */
export interface StoredDeliveries {
  readonly start: number
  readonly runs: readonly (readonly [first: number, last: number, isDone: 0 | 1, count: number])[]
}

export interface DeliveryLimits {
  readonly lockMs: number
  readonly deliveriesMax: number
  /** Records that are looked at and not done. */
  readonly inFlightMax: number
}

export interface Span {
  readonly first: number
  /** The last one included. */
  readonly last: number
}

export class Deliveries {
  #start: number
  #runs: Run[] = []
  readonly #limits: () => DeliveryLimits

  constructor(limits: () => DeliveryLimits, stored: StoredDeliveries) {
    this.#limits = limits
    this.#start = stored.start
    this.#runs = stored.runs.map(([first, last, isDone, count]) => ({
      ...{ first, last, count, member: '', untilMs: 0 },
      state: isDone === 1 ? 'done' : 'available',
    }))
  }

  /** Of the first record that is not done. */
  get start(): number {
    return this.#start
  }

  /** Of the first record that was not looked at yet. */
  get end(): number {
    return (this.#runs.at(-1)?.last ?? this.#start - 1) + 1
  }

  /** Done ones above the start included. */
  get stored(): StoredDeliveries {
    const runs = this.#runs.map(({ first, last, state, count }) => {
      const isDone: 0 | 1 = state === 'done' ? 1 : 0
      return [first, last, isDone, count] as const
    })
    return { start: this.#start, runs }
  }

  get isHeld(): boolean {
    return this.#runs.some(({ state }) => state === 'acquired')
  }

  /** When the next lock ends; undefined: there is none. */
  get nextMs(): number | undefined {
    const held = this.#runs.filter(({ state }) => state === 'acquired')
    return held.length === 0 ? undefined : Math.min(...held.map(({ untilMs }) => untilMs))
  }

  /** Where to read on: of the first record that may be given; undefined: too many are under way. */
  get next(): number | undefined {
    const free = this.#runs.find(({ state }) => state === 'available')
    if (free !== undefined) return free.first
    return this.#roomFor() > 0 ? this.end : undefined
  }

  /** The log begins later than what was known of: what is gone is done. True: something has changed. */
  trim(logStart: number): boolean {
    if (logStart <= this.#start) return false
    this.#split(logStart)
    this.#runs = this.#runs.filter(({ first }) => first >= logStart)
    this.#start = logStart
    this.#advance()
    return true
  }

  /** Of the batches (in their order, without gaps between them that matter) as many records as are wanted. */
  acquire(
    member: string,
    {
      batches,
      recordsMax,
      isStrict,
    }: { batches: readonly Span[]; recordsMax: number; isStrict: boolean },
    nowMs: number,
  ): readonly AcquiredRun[] {
    const acquired: AcquiredRun[] = []
    let left = recordsMax
    for (const batch of batches) {
      if (left <= 0) break
      this.#look(batch)
      const first = Math.max(batch.first, this.#start)
      this.#split(first)
      this.#split(batch.last + 1)
      for (const run of this.#within({ first, last: batch.last })) {
        if (run.state !== 'available' || left <= 0) continue
        // Without need a batch is not torn: its records are acknowledged together.
        if (isStrict) this.#split(run.first + left)
        const { lockMs } = this.#limits()
        Object.assign(run, { state: 'acquired', member, untilMs: nowMs + lockMs })
        run.count++
        left -= run.last - run.first + 1
        acquired.push({ first: run.first, last: run.last, count: run.count })
      }
    }
    return acquired
  }

  /** What each record of the span is; one verdict holds for all. False: the member has not all of them, nothing is done. */
  settle(
    member: string,
    verdicts: readonly (Span & { readonly verdicts: readonly Verdict[] })[],
    nowMs: number,
  ): boolean {
    const pieces = verdicts.flatMap(({ first, last, verdicts: each }) => {
      if (each.length === 1) return [{ first, last, verdict: each[0] as Verdict }]
      return each.map((verdict, at) => ({ first: first + at, last: first + at, verdict }))
    })
    // What is below the start is done already, by whomever.
    const open = pieces
      .filter(({ last }) => last >= this.#start)
      .map((piece) => ({ ...piece, first: Math.max(piece.first, this.#start) }))
    if (!open.every((piece) => this.#isHeldBy(member, piece))) return false
    for (const { first, last, verdict } of open) {
      this.#split(first)
      this.#split(last + 1)
      for (const run of this.#within({ first, last })) this.#apply(run, verdict, nowMs)
    }
    this.#advance()
    return true
  }

  /** Everything that the member has. True: it had something. */
  release(member: string): boolean {
    const held = this.#runs.filter((run) => run.state === 'acquired' && run.member === member)
    for (const run of held) this.#free(run)
    this.#advance()
    return held.length > 0
  }

  /** Locks that have ended. True: there were some. */
  expire(nowMs: number): boolean {
    const late = this.#runs.filter((run) => run.state === 'acquired' && run.untilMs <= nowMs)
    for (const run of late) this.#free(run)
    this.#advance()
    return late.length > 0
  }

  #apply(run: Run, verdict: Verdict, nowMs: number): void {
    if (verdict === 'renew') run.untilMs = nowMs + this.#limits().lockMs
    else if (verdict === 'release') this.#free(run)
    else Object.assign(run, { state: 'done', member: '' })
  }

  #free(run: Run): void {
    const isOver = run.count >= this.#limits().deliveriesMax
    Object.assign(run, { state: isOver ? 'done' : 'available', member: '' })
  }

  #roomFor(): number {
    const { inFlightMax } = this.#limits()
    return inFlightMax - (this.end - this.#start)
  }

  /** Of a batch that was not looked at before, all records. */
  #look(batch: Span): void {
    const { end } = this
    if (batch.last < end || this.#roomFor() <= 0) return
    const first = Math.max(batch.first, end)
    // What a batch skips was compacted away.
    if (first > end) this.#runs.push(doneRun(end, first - 1))
    this.#runs.push({ ...doneRun(first, batch.last), state: 'available' })
  }

  #isHeldBy(member: string, { first, last }: Span): boolean {
    let next = first
    for (const run of this.#runs) {
      if (run.last < next) continue
      if (run.first > next || run.state !== 'acquired' || run.member !== member) return false
      next = run.last + 1
      if (next > last) return true
    }
    return false
  }

  #within({ first, last }: Span): readonly Run[] {
    return this.#runs.filter((run) => run.first >= first && run.last <= last)
  }

  /** No run begins before the offset and ends after it. */
  #split(offset: number): void {
    const at = this.#runs.findIndex((run) => run.first < offset && run.last >= offset)
    const run = this.#runs[at]
    if (run === undefined) return
    this.#runs.splice(at + 1, 0, { ...run, first: offset })
    run.last = offset - 1
  }

  /** The start moves over what is done, and neighbours that are done are one. */
  #advance(): void {
    let done = 0
    while (this.#runs[done]?.state === 'done') done++
    const last = this.#runs[done - 1]
    if (last !== undefined) this.#start = last.last + 1
    const rest: Run[] = []
    for (const run of this.#runs.slice(done)) {
      const before = rest.at(-1)
      const isAlike =
        before !== undefined &&
        before.state === run.state &&
        (run.state === 'done' || (run.state === 'available' && before.count === run.count))
      if (isAlike) before.last = run.last
      else rest.push(run)
    }
    this.#runs = rest
  }
}

function doneRun(first: number, last: number): Run {
  return { first, last, state: 'done', count: 0, member: '', untilMs: 0 }
}
