/** What clients of one dialect do all the while, and what they must find afterwards. */
import type { Verdict } from '../checkers/verdict.ts'
import type { ClusterControl, Endpoints } from '../control.ts'
import type { Outcome, Send } from '../history.ts'

export interface WorkloadOptions {
  readonly endpoints: Endpoints
  readonly metadata?: ClusterControl['metadata']
  /** In the names of everything that is made, so that runs do not meet. */
  readonly run: string
  /** How many send. */
  readonly clients: number
}

export interface Workload {
  /** Of those that send. */
  readonly clients: readonly string[]
  readonly sends: readonly Pick<Send, 'client' | 'startedMs' | 'endedMs' | 'outcome'>[]
  /** Ends sending, waits until all that was acknowledged has come, and judges. Never rejects. */
  finish(): Promise<Verdict>
  /** After `finish`: takes away what it has made in the cluster. */
  remove(): Promise<void>
}

/** Resolves when every client has been served once. */
export type StartWorkload = (options: WorkloadOptions) => Promise<Workload>

/** Between two sends of a client, ms. */
export const PACE_MS = 10

/** How long what was acknowledged may be on its way, after nothing has come any more, ms. */
export const QUIET_MS = 8_000

export class Sender {
  readonly sends: Send[] = []
  readonly #client: string
  readonly #send: (value: string) => Promise<Outcome>
  readonly #done: Promise<void>
  #next = 0
  #isStopped = false
  #waitingSince: number | undefined

  /** `send` may take as long as it needs; a rejection is an unknown outcome. */
  constructor(client: string, send: (value: string) => Promise<Outcome>) {
    this.#client = client
    this.#send = send
    this.#done = this.#loop()
  }

  /** Since when it waits for an answer, ms. */
  get waitingSince(): number | undefined {
    return this.#waitingSince
  }

  /** False: it still waits for an answer. */
  async stop(withinMs: number): Promise<boolean> {
    this.#isStopped = true
    return within(this.#done, withinMs)
  }

  async #loop(): Promise<void> {
    while (!this.#isStopped) {
      const value = `${this.#client}-${this.#next++}`
      const startedMs = performance.now()
      this.#waitingSince = startedMs
      const outcome = await this.#send(value).catch((): Outcome => 'unknown')
      this.#waitingSince = undefined
      const endedMs = performance.now()
      this.sends.push({ client: this.#client, value, startedMs, endedMs, outcome })
      await pause(PACE_MS)
    }
  }
}

/** Whether it came to an end in time. */
export async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  const done = work.then(
    () => true,
    () => true,
  )
  const isDone = await Promise.race([done, late])
  clearTimeout(timer)
  return isDone
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Until nothing is missing, or nothing has come for a while. `count`: of what has come. */
export async function untilQuiet(isComplete: () => boolean, count: () => number): Promise<void> {
  let last = count()
  let sinceMs = performance.now()
  while (!isComplete() && performance.now() - sinceMs < QUIET_MS) {
    await pause(50)
    if (count() === last) continue
    last = count()
    sinceMs = performance.now()
  }
}

/** Until each has been served once. Rejects after a minute. */
export async function allServed(senders: readonly Sender[]): Promise<void> {
  const end = performance.now() + 60_000
  while (!senders.every(({ sends }) => sends.some(({ outcome }) => outcome === 'ok'))) {
    if (performance.now() > end) throw new Error('a client was not served within a minute')
    await pause(20)
  }
}
