/**
 * Moves what is in a queue to another one, or back to where it was dead-lettered from: a task with a rate, its progress
 * told, that goes on at the next owner and can be cancelled.
 */
import type { Operation } from '@robust/storage-adapters'
import type { RedriveTask } from '../core/queues/queue-requests.ts'
import { encodeJson } from '../core/stored.ts'
import { padded } from './queue-keys.ts'

const TASKS_KEPT_MAX = 10
/** Without a rate of its own: as Amazon SQS has it at most. */
export const REDRIVE_PER_SECOND_MAX = 500

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
type Task = Mutable<RedriveTask>

export class Redrives {
  readonly #prefix: string
  #tasks: Task[] = []
  /** Messages that may move now. */
  #allowance = 0
  #allowedAtMs = 0

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  restore(values: readonly RedriveTask[]): void {
    this.#tasks = values.map((task) => ({ ...task }))
  }

  /** The newest first. */
  list(): readonly RedriveTask[] {
    return this.#tasks.toReversed().map((task) => ({ ...task }))
  }

  get active(): RedriveTask | undefined {
    return this.#active
  }

  get #active(): Task | undefined {
    return this.#tasks.find(({ state }) => state === 'running' || state === 'cancelling')
  }

  get isRunning(): boolean {
    return this.active?.state === 'running'
  }

  /** Where the messages go; undefined: where each came from. Of the last task when none is active. */
  get to(): string | undefined {
    return (this.active ?? this.#tasks[this.#tasks.length - 1])?.to
  }

  start(
    terms: Pick<RedriveTask, 'task' | 'to' | 'perSecondMax' | 'toMove' | 'startedAtMs'>,
  ): readonly Operation[] {
    const task: Task = {
      ...terms,
      state: 'running',
      moved: 0,
      failure: undefined,
    }
    this.#tasks.push(task)
    this.#allowance = 0
    this.#allowedAtMs = terms.startedAtMs
    const operations = [this.#put(task)]
    while (this.#tasks.length > TASKS_KEPT_MAX) {
      const oldest = this.#tasks.shift()
      if (oldest !== undefined) operations.push({ kind: 'delete', key: this.#keyOf(oldest) })
    }
    return operations
  }

  /** Undefined: there is no such task, or it is over. */
  cancel(name: string): readonly Operation[] | undefined {
    const task = this.#tasks.find((each) => each.task === name)
    if (task?.state !== 'running') return undefined
    task.state = 'cancelling'
    return [this.#put(task)]
  }

  /** How many messages may move now. */
  allowed(nowMs: number): number {
    const task = this.active
    if (task?.state !== 'running') return 0
    const rate = task.perSecondMax ?? REDRIVE_PER_SECOND_MAX
    const elapsed = Math.max(0, Math.min(1_000, nowMs - this.#allowedAtMs))
    this.#allowance = Math.min(rate, this.#allowance + (elapsed / 1_000) * rate)
    this.#allowedAtMs = nowMs
    return Math.floor(this.#allowance)
  }

  began(count: number): void {
    this.#allowance -= count
  }

  moved(): readonly Operation[] {
    const task = this.#active
    if (task === undefined) return []
    task.moved++
    return [this.#put(task)]
  }

  /** Nothing is left, or nothing more is to be moved, and nothing is under way. */
  finish(failure?: string): readonly Operation[] {
    const task = this.#active
    if (task === undefined) return []
    if (failure !== undefined) task.state = 'failed'
    else task.state = task.state === 'cancelling' ? 'cancelled' : 'completed'
    task.failure = failure
    return [this.#put(task)]
  }

  #put(task: Task): Operation {
    return { kind: 'put', key: this.#keyOf(task), value: encodeJson(task) }
  }

  #keyOf({ startedAtMs, task }: RedriveTask): string {
    return `${this.#prefix}${padded(startedAtMs)}/${task}`
  }
}
