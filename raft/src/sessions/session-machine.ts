/**
 * Makes any state machine carry out a repeated command once: a client that did not hear the outcome of a
 * proposal proposes the very same bytes again, to any leader, and gets the result of the first time.
 * The table of sessions is part of the state: of its snapshots and of its hash.
 */
import type { CommittedCommand, StateMachine } from '../ports/state-machine.ts'
import { decodeSessionCommand, type SessionCommand } from './session-command.ts'
import {
  DEFAULT_SESSION_LIMITS,
  type SessionLimits,
  type SessionRecord,
  SessionTable,
} from './session-table.ts'

/** How the results of the inner machine are kept: as text that gives the same result again. */
export interface ResultCodec {
  encode(result: unknown): string
  decode(text: string): unknown
}

export interface SessionMachineOptions {
  readonly limits?: Partial<SessionLimits>
  /** Default JSON, for results that survive it. */
  readonly results?: ResultCodec
}

/** What apply returns for a command, and so what propose resolves with as `result`. */
export type SessionResult =
  | { readonly kind: 'opened'; readonly session: number }
  | { readonly kind: 'closed' }
  /** The inner result; `isRepeated` when it was carried out before. */
  | { readonly kind: 'applied'; readonly result: unknown; readonly isRepeated: boolean }
  /** Nothing was done now: there is no such session (any more). Whether it was done before is unknown. */
  | { readonly kind: 'session-expired' }
  /** Nothing was done now: it was done before, and its result is forgotten. */
  | { readonly kind: 'result-forgotten' }
  /** Nothing was done: what was proposed is no command of a session. */
  | { readonly kind: 'not-a-session-command' }

const JSON_CODEC: ResultCodec = {
  // JSON has no undefined; a result of none is common.
  encode: (result) => (result === undefined ? '' : JSON.stringify(result)),
  decode: (text) => (text === '' ? undefined : JSON.parse(text)),
}
const LENGTH_BYTES = 4

export class SessionMachine implements StateMachine {
  readonly #inner: StateMachine
  readonly #table: SessionTable
  readonly #codec: ResultCodec
  /** There only when the inner machine has one. Of the sessions it knows the number only, to be cheap. */
  readonly hash?: () => string

  constructor(inner: StateMachine, options: SessionMachineOptions = {}) {
    this.#inner = inner
    this.#table = new SessionTable({ ...DEFAULT_SESSION_LIMITS, ...options.limits })
    this.#codec = options.results ?? JSON_CODEC
    if (inner.hash !== undefined) {
      this.hash = () => `${this.#table.size}/${inner.hash?.() ?? ''}`
    }
  }

  apply(entries: readonly CommittedCommand[]): SessionResult[] {
    return entries.map((entry) => this.#applyOne(entry))
  }

  #applyOne(entry: CommittedCommand): SessionResult {
    const command = decodeSessionCommand(entry.command)
    switch (command?.kind) {
      case undefined:
        return { kind: 'not-a-session-command' }
      case 'open':
        // The index names it: an opening that is repeated late opens another, and harms nobody.
        this.#table.open(entry.index)
        return { kind: 'opened', session: entry.index }
      case 'close':
        return this.#table.close(command.session) ? { kind: 'closed' } : { kind: 'session-expired' }
      case 'command':
        return this.#applyOnce(entry, command)
    }
  }

  #applyOnce(
    { index, term }: CommittedCommand,
    { session, sequence, answeredBelow, command }: SessionCommand & { kind: 'command' },
  ): SessionResult {
    const known = this.#table.lookUp(session, sequence)
    if (known.kind === 'no-session') return { kind: 'session-expired' }
    if (known.kind === 'forgotten') return { kind: 'result-forgotten' }
    if (known.kind === 'repeated') {
      return { kind: 'applied', result: this.#codec.decode(known.result), isRepeated: true }
    }
    const [result] = this.#inner.apply([{ index, term, command }])
    this.#table.forget(session, answeredBelow)
    this.#table.keep(session, sequence, this.#codec.encode(result))
    return { kind: 'applied', result, isRepeated: false }
  }

  snapshot(): AsyncIterable<Uint8Array> {
    const table = new TextEncoder().encode(JSON.stringify(this.#table.records()))
    const length = new Uint8Array(LENGTH_BYTES)
    new DataView(length.buffer).setUint32(0, table.byteLength)
    // Frozen now, like the table.
    const inner = this.#inner.snapshot()
    return concatenate([length, table], inner)
  }

  restore(snapshot: Uint8Array): void {
    const { records, rest } = split(snapshot)
    this.#table.restore(records)
    this.#inner.restore(rest)
  }

  async prepareRestore(snapshot: Uint8Array): Promise<() => void> {
    const { records, rest } = split(snapshot)
    const inner = await this.#inner.prepareRestore?.(rest)
    return () => {
      this.#table.restore(records)
      if (inner === undefined) this.#inner.restore(rest)
      else inner()
    }
  }
}

function split(snapshot: Uint8Array): {
  readonly records: readonly SessionRecord[]
  readonly rest: Uint8Array
} {
  const view = new DataView(snapshot.buffer, snapshot.byteOffset, snapshot.byteLength)
  const from = LENGTH_BYTES + view.getUint32(0)
  const table = new TextDecoder().decode(snapshot.subarray(LENGTH_BYTES, from))
  return { records: JSON.parse(table) as SessionRecord[], rest: snapshot.subarray(from) }
}

async function* concatenate(
  head: readonly Uint8Array[],
  rest: Uint8Array | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* head
  if (rest instanceof Uint8Array) yield rest
  else yield* rest
}
