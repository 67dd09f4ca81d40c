/** What waits for the next turn of a member, in order. */
import { StoppedError } from '../errors.ts'

export interface Task {
  run(): void
  /** Instead of run, when the member stops first. */
  drop(error: StoppedError): void
}

export class Mailbox {
  #tasks: Task[] = []

  post(task: Task): void {
    this.#tasks.push(task)
  }

  take(): readonly Task[] {
    const tasks = this.#tasks
    this.#tasks = []
    return tasks
  }

  dropAll(): void {
    for (const task of this.take()) task.drop(new StoppedError('the member stops'))
  }
}
