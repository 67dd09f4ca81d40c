/** What a check of a shard collects: counts, and what is wrong, in lines that name where. */
import { StorageError } from './errors.ts'
import type { ShardCheck } from './storage-adapter.ts'

/** A log with more than this is damaged as a whole; the rest is counted. */
const problemsMax = 1000

export class ShardProblems {
  logs = 0
  batches = 0
  keys = 0
  bytes = 0
  readonly #problems: string[] = []
  #more = 0

  add(problem: string): void {
    if (this.#problems.length < problemsMax) this.#problems.push(problem)
    else this.#more += 1
  }

  /** The result, or undefined when it throws DATA_LOSS, which becomes a problem of `where`. */
  attempt<T>(where: string, read: () => T): T | undefined {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'DATA_LOSS') throw error
      this.add(`${where}: ${error.message}`)
      return undefined
    }
  }

  async attemptLater<T>(where: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read()
    } catch (error) {
      return this.attempt<T>(where, () => {
        throw error
      })
    }
  }

  result(): ShardCheck {
    const more = this.#more > 0 ? [`and ${this.#more} more`] : []
    const { logs, batches, keys, bytes } = this
    return { logs, batches, keys, bytes, problems: [...this.#problems, ...more] }
  }
}

export const quoted = (name: string): string => JSON.stringify(name.slice(0, 200))
