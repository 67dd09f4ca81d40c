/** What concurrent clients did, and when: recorded by a test, judged by a checker. */

/**
 * `ok`: it was done, with this output. `fail`: it was certainly not done. `unknown`: it may have been
 * done, or be done at any time from its invocation on, for ever.
 */
export type Outcome = 'ok' | 'fail' | 'unknown'

export interface Operation<Input, Output> {
  readonly client: string
  /** What is independent of everything under another key, and judged by itself. */
  readonly key: string
  readonly input: Input
  readonly outcome: Outcome
  /** Of an operation that is ok. */
  readonly output: Output | undefined
  /** On one monotonic clock for all clients. */
  readonly invokedMs: number
  /** Of an operation that is ok or failed. */
  readonly completedMs: number | undefined
}

export type History<Input, Output> = readonly Operation<Input, Output>[]

export interface Call<Input, Output> {
  readonly client: string
  readonly key: string
  readonly input: Input
  run(): Promise<Output>
  /** What a rejection says about whether it was done. In doubt: unknown. */
  judge(error: unknown): 'fail' | 'unknown'
}

/** Records the calls of clients in this process; each client is to make one call at a time. */
export class Recorder<Input, Output> {
  readonly #operations: Operation<Input, Output>[] = []
  readonly #running = new Map<Call<Input, Output>, number>()
  readonly #nowMs: () => number

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs
  }

  /** Never rejects: returns the output, or undefined when there is none. */
  async call(call: Call<Input, Output>): Promise<Output | undefined> {
    const { client, key, input } = call
    const invokedMs = this.#nowMs()
    this.#running.set(call, invokedMs)
    const common = { client, key, input, invokedMs }
    try {
      const output = await call.run()
      const completedMs = this.#nowMs()
      this.#operations.push({ ...common, outcome: 'ok', output, completedMs })
      return output
    } catch (error) {
      const outcome = call.judge(error)
      const completedMs = outcome === 'fail' ? this.#nowMs() : undefined
      this.#operations.push({ ...common, outcome, output: undefined, completedMs })
      return undefined
    } finally {
      this.#running.delete(call)
    }
  }

  /** All calls so far; those that still run count as unknown. */
  get history(): History<Input, Output> {
    const running = [...this.#running].map(([{ client, key, input }, invokedMs]) => ({
      ...{ client, key, input, invokedMs },
      outcome: 'unknown' as const,
      output: undefined,
      completedMs: undefined,
    }))
    return [...this.#operations, ...running]
  }
}
