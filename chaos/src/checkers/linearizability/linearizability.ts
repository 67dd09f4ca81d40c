/**
 * Whether a history of concurrent operations could have been made by something that does one operation at
 * a time, each at a moment between its call and its return. (Wing and Gong 1993, with the memory of Lowe
 * 2017; one search per key, since linearizability is local, Herlihy and Wing 1990)
 *
 * The search is exponential at worst. It is bounded, and says so when it gives up.
 */
import type { History, Operation } from './recorder.ts'

/** What the object does that is meant to be behind the history. */
export interface Model<State, Input, Output> {
  readonly initial: State
  /**
   * The states that are possible after an operation with this output; none when it cannot have had it.
   * Without an output, of an operation whose outcome is unknown, every effect it may have had.
   */
  step(state: State, input: Input, output: Output | undefined): readonly State[]
  /** The same text for states that are the same. */
  name(state: State): string
}

export type Verdict<Input, Output> =
  | { readonly kind: 'linearizable'; readonly keys: number; readonly states: number }
  | {
      readonly kind: 'violation'
      readonly key: string
      /** The longest order that was found; all that is left contradicts it. */
      readonly order: readonly Operation<Input, Output>[]
      /** The states after it. */
      readonly state: string
      /** Had to be next, by its return, and could not. */
      readonly stuck: Operation<Input, Output>
    }
  | { readonly kind: 'undecided'; readonly key: string; readonly states: number }

export interface CheckOptions {
  /** Pairs of what was done and the state then that are remembered for a key; about 200 bytes each. */
  readonly statesMax?: number
}

const STATES_MAX = 1_000_000

/** The first key that is not linearizable, or could not be decided. */
export function checkLinearizability<State, Input, Output>(
  history: History<Input, Output>,
  model: Model<State, Input, Output>,
  { statesMax = STATES_MAX }: CheckOptions = {},
): Verdict<Input, Output> {
  let states = 0
  const byKey = groupByKey(history)
  let undecided: Verdict<Input, Output> | undefined
  for (const [key, operations] of byKey) {
    const search = new Search(operations, model, statesMax)
    const outcome = search.run()
    states += search.states
    if (outcome === 'violation') return { kind: 'violation', key, ...search.evidence }
    if (outcome === 'undecided') undecided ??= { kind: 'undecided', key, states: search.states }
  }
  return undecided ?? { kind: 'linearizable', keys: byKey.size, states }
}

/** Without what certainly was not done. */
function groupByKey<Input, Output>(
  history: History<Input, Output>,
): Map<string, Operation<Input, Output>[]> {
  const byKey = new Map<string, Operation<Input, Output>[]>()
  for (const operation of history) {
    if (operation.outcome === 'fail') continue
    const operations = byKey.get(operation.key)
    if (operations === undefined) byKey.set(operation.key, [operation])
    else operations.push(operation)
  }
  return byKey
}

/** A call or a return, in a list that is ordered by time. */
interface Event {
  readonly operation: number
  readonly kind: 'call' | 'return' | 'head'
  before: Event | undefined
  after: Event | undefined
}

interface Choice<State> {
  readonly event: Event
  readonly stateBefore: State
  readonly alternatives: readonly State[]
  taken: number
}

class Search<State, Input, Output> {
  readonly #operations: readonly Operation<Input, Output>[]
  readonly #model: Model<State, Input, Output>
  readonly #statesMax: number
  readonly #head: Event
  readonly #returns: (Event | undefined)[] = []
  readonly #seen = new Set<string>()
  readonly #isDone: boolean[]
  /** Below it every operation that is ok is done; how many of them there are. */
  #doneBelow = 0
  #countBelow = 0
  readonly #doneUnknown = new Set<number>()
  readonly #okCount: number
  #left: number
  /** Where the search stands in the list; undefined behind its end. */
  #cursor: Event | undefined
  #state: State
  readonly #choices: Choice<State>[] = []
  #best: { order: readonly number[]; state: string; stuck: number } | undefined

  constructor(
    operations: readonly Operation<Input, Output>[],
    model: Model<State, Input, Output>,
    statesMax: number,
  ) {
    this.#operations = [...operations].sort((a, b) => a.invokedMs - b.invokedMs)
    this.#model = model
    this.#statesMax = statesMax
    this.#isDone = this.#operations.map(() => false)
    this.#okCount = operations.filter(({ outcome }) => outcome === 'ok').length
    this.#left = this.#okCount
    this.#state = model.initial
    this.#head = this.#link()
  }

  get states(): number {
    return this.#seen.size
  }

  get evidence() {
    const {
      order = [],
      state = this.#model.name(this.#model.initial),
      stuck = 0,
    } = this.#best ?? {}
    const at = (index: number) => this.#operations[index] as Operation<Input, Output>
    return { order: order.map(at), state, stuck: at(stuck) }
  }

  /** At the same moment calls come before returns: the two may have overlapped. */
  #link(): Event {
    const timed = this.#operations.flatMap(({ invokedMs, completedMs }, operation) => {
      const call = { atMs: invokedMs, rank: 0, kind: 'call' as const, operation }
      // What is unknown never returns.
      if (completedMs === undefined) return [call]
      return [call, { atMs: completedMs, rank: 1, kind: 'return' as const, operation }]
    })
    timed.sort((a, b) => a.atMs - b.atMs || a.rank - b.rank)
    const head: Event = { operation: -1, kind: 'head', before: undefined, after: undefined }
    let last = head
    for (const { kind, operation } of timed) {
      const event: Event = { operation, kind, before: last, after: undefined }
      last.after = event
      last = event
      if (kind === 'return') this.#returns[operation] = event
    }
    return head
  }

  run(): 'linearizable' | 'violation' | 'undecided' {
    this.#cursor = this.#head.after
    while (this.#left > 0) {
      if (this.#seen.size > this.#statesMax) return 'undecided'
      const event = this.#cursor
      if (event?.kind === 'call') {
        this.#cursor = this.#choose(event) ? this.#head.after : event.after
        continue
      }
      // Its return is here and it was not done, or nothing is left to try: go back.
      if (event !== undefined) this.#note(event.operation)
      if (!this.#goBack()) return 'violation'
    }
    return 'linearizable'
  }

  /** Does an operation here, if that leads to what was not tried yet. */
  #choose(event: Event): boolean {
    const { input, output } = this.#operations[event.operation] as Operation<Input, Output>
    const alternatives = this.#model.step(this.#state, input, output)
    return this.#take({ event, stateBefore: this.#state, alternatives, taken: 0 })
  }

  #take(choice: Choice<State>): boolean {
    const { event, alternatives } = choice
    this.#setDone(event.operation, true)
    for (; choice.taken < alternatives.length; choice.taken += 1) {
      const state = alternatives[choice.taken] as State
      const name = this.#situation(state)
      if (this.#seen.has(name)) continue
      this.#seen.add(name)
      choice.taken += 1
      this.#state = state
      this.#choices.push(choice)
      this.#unlink(event)
      return true
    }
    this.#setDone(event.operation, false)
    return false
  }

  /** Undoes the newest choice, and goes on with another. Returns false when there is none. */
  #goBack(): boolean {
    const choice = this.#choices.pop()
    if (choice === undefined) return false
    this.#relink(choice.event)
    this.#setDone(choice.event.operation, false)
    this.#state = choice.stateBefore
    // Another effect of the same operation, or what comes after it instead of it.
    this.#cursor = this.#take(choice) ? this.#head.after : choice.event.after
    return true
  }

  #setDone(operation: number, isDone: boolean): void {
    this.#isDone[operation] = isDone
    if (this.#operations[operation]?.outcome !== 'ok') {
      if (isDone) this.#doneUnknown.add(operation)
      else this.#doneUnknown.delete(operation)
      return
    }
    this.#left += isDone ? -1 : 1
    if (isDone) this.#raiseDoneBelow()
    else this.#lowerDoneBelow(operation)
  }

  #raiseDoneBelow(): void {
    for (; this.#doneBelow < this.#operations.length; this.#doneBelow += 1) {
      const isOk = this.#operations[this.#doneBelow]?.outcome === 'ok'
      if (isOk && this.#isDone[this.#doneBelow] !== true) return
      if (isOk) this.#countBelow += 1
    }
  }

  #lowerDoneBelow(operation: number): void {
    while (this.#doneBelow > operation) {
      this.#doneBelow -= 1
      if (this.#operations[this.#doneBelow]?.outcome === 'ok') this.#countBelow -= 1
    }
  }

  /**
   * What is done, and the state: all that the rest of the search depends on. Operations are in the order
   * of their calls, so that little is done beyond the first that is not.
   */
  #situation(state: State): string {
    const beyond: number[] = []
    let count = this.#okCount - this.#left - this.#countBelow
    for (let at = this.#doneBelow; count > 0; at += 1) {
      if (this.#isDone[at] !== true || this.#operations[at]?.outcome !== 'ok') continue
      beyond.push(at)
      count -= 1
    }
    const unknown = [...this.#doneUnknown].sort((a, b) => a - b).join()
    return `${this.#doneBelow}|${beyond.join()}|${unknown}|${this.#model.name(state)}`
  }

  #unlink(event: Event): void {
    for (const each of [event, this.#returns[event.operation]]) {
      if (each === undefined) continue
      if (each.before !== undefined) each.before.after = each.after
      if (each.after !== undefined) each.after.before = each.before
    }
  }

  #relink(event: Event): void {
    for (const each of [this.#returns[event.operation], event]) {
      if (each === undefined) continue
      if (each.before !== undefined) each.before.after = each
      if (each.after !== undefined) each.after.before = each
    }
  }

  #note(stuck: number): void {
    if (stuck < 0 || this.#choices.length <= (this.#best?.order.length ?? -1)) return
    const order = this.#choices.map(({ event }) => event.operation)
    this.#best = { order, state: this.#model.name(this.#state), stuck }
  }
}
