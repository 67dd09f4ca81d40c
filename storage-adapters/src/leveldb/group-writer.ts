/**
 * Group commit: while one synced write is on its way to the disk, everything that arrives is collected
 * into the next one. Tasks take effect in the order in which they were submitted, and settle together
 * after the write that carries them. One write at a time, and one task prepared at a time.
 *
 * A write that fails leaves LevelDB in a state that refuses all writes while the failed one may be on
 * disk: the writer is broken from then on, and says so once.
 */
import { StorageError } from '../errors.ts'
import type { WriteGroup } from './write-group.ts'

export interface GroupWriterOptions {
  readonly newGroup: () => WriteGroup
  /** Durable when it resolves. */
  readonly write: (group: WriteGroup) => Promise<void>
  readonly onBroken: (error: StorageError) => void
}

export type Prepare = (group: WriteGroup) => Promise<void> | undefined

interface Task {
  readonly bytes: number
  /** Adds to the group; what it throws is the task's own failure and must leave the group as it was. */
  readonly prepare: Prepare
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Bounds the memory and the duration of one write; a larger task goes alone. */
const groupBytesMax = 16 * 1024 * 1024

export class GroupWriter {
  readonly #options: GroupWriterOptions
  readonly #waiting: Task[] = []
  #running: Promise<void> | undefined
  #broken: StorageError | undefined

  constructor(options: GroupWriterOptions) {
    this.#options = options
  }

  get broken(): StorageError | undefined {
    return this.#broken
  }

  /** Resolves when what `prepare` added is durable; with its error when it threw. */
  submit(bytes: number, prepare: Prepare): Promise<void> {
    if (this.#broken) return Promise.reject(this.#broken)
    const settled = new Promise<void>((resolve, reject) => {
      this.#waiting.push({ bytes, prepare, resolve, reject })
    })
    this.#running ??= this.#run()
    return settled
  }

  /** What is on the disk is not known any more: nothing is written from now on. */
  break(cause: unknown): StorageError {
    if (this.#broken) return this.#broken
    const reason = cause instanceof Error ? cause.message : String(cause)
    const broken = new StorageError('UNAVAILABLE', `The storage failed to write: ${reason}`, {
      cause,
    })
    this.#broken = broken
    this.#options.onBroken(broken)
    return broken
  }

  /** Waits until nothing is left to write. */
  async idle(): Promise<void> {
    while (await this.#running) await this.#running
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      // All who wait for the write before go on in this turn, and what they submit shares the next one.
      await nextTurn()
      const tasks = this.#takeTasks()
      if (this.#broken) for (const task of tasks) task.reject(this.#broken)
      else await this.#writeTogether(tasks)
    }
    this.#running = undefined
  }

  #takeTasks(): Task[] {
    let bytes = 0
    let count = 0
    for (const task of this.#waiting) {
      bytes += task.bytes
      if (count > 0 && bytes > groupBytesMax) break
      count += 1
    }
    return this.#waiting.splice(0, count)
  }

  async #writeTogether(tasks: readonly Task[]): Promise<void> {
    const group = this.#options.newGroup()
    const failures = new Map<Task, unknown>()
    for (const task of tasks) {
      try {
        const later = task.prepare(group)
        if (later !== undefined) await later
      } catch (error) {
        failures.set(task, error)
      }
    }
    try {
      await this.#options.write(group)
    } catch (error) {
      const broken = this.break(error)
      for (const task of tasks) task.reject(broken)
      return
    }
    for (const task of tasks) {
      if (failures.has(task)) task.reject(failures.get(task))
      else task.resolve()
    }
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
