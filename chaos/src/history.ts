/** What clients asked for and what they were told, in plain arrays. Times are ms of one monotonic clock. */

/** `unknown`: it may have happened, or happen yet. */
export type Outcome = 'ok' | 'fail' | 'unknown'

export interface Send {
  readonly client: string
  /** Given once. */
  readonly value: string
  readonly startedMs: number
  readonly endedMs: number
  readonly outcome: Outcome
}

export interface Delivery {
  readonly client: string
  readonly value: string
  readonly atMs: number
  /** Deliveries of one stream should come in the order of their sends. */
  readonly stream: string
}

/** A record as a log has it. */
export interface Read {
  readonly client: string
  readonly value: string
  readonly partition: string
  readonly offset: number
}

export interface Transaction {
  readonly client: string
  readonly values: readonly string[]
  readonly startedMs: number
  readonly endedMs: number
  /** `fail`: aborted. */
  readonly outcome: Outcome
}

/** The longest time that each client was without success between two moments, and on to its next success, ms. */
export function outages(
  sends: readonly Pick<Send, 'client' | 'endedMs' | 'outcome'>[],
  clients: readonly string[],
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): readonly number[] {
  return clients.map((client) => {
    const successes = sends
      .filter((send) => send.client === client && send.outcome === 'ok' && send.endedMs > fromMs)
      .map(({ endedMs }) => endedMs)
      .sort((a, b) => a - b)
    let last = fromMs
    let longest = 0
    for (const endedMs of successes) {
      longest = Math.max(longest, endedMs - last)
      last = endedMs
      if (endedMs > toMs) return longest
    }
    return Math.max(longest, toMs - last)
  })
}

/** How long each client went without success from a moment on, ms; undefined: it never had any again. */
export function recoveries(
  sends: readonly Pick<Send, 'client' | 'startedMs' | 'endedMs' | 'outcome'>[],
  clients: readonly string[],
  fromMs: number,
): readonly (number | undefined)[] {
  const first = new Map<string, number>()
  for (const { client, startedMs, endedMs, outcome } of sends) {
    if (outcome !== 'ok' || startedMs < fromMs) continue
    first.set(client, Math.min(endedMs, first.get(client) ?? Number.POSITIVE_INFINITY))
  }
  return clients.map((client) => {
    const endedMs = first.get(client)
    return endedMs === undefined ? undefined : endedMs - fromMs
  })
}
