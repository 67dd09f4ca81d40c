/** What happened to a cluster and its clients, in the order of their clocks (one machine: one clock). */
import type { TestCluster } from './cluster.ts'

interface Moment {
  readonly atMs: number
  readonly who: string
  readonly what: string
}

export class Timeline {
  readonly #name: string
  readonly #startedAtMs = Date.now()
  readonly #moments: Moment[] = []

  constructor(name: string) {
    this.#name = name
  }

  /** Something that was done to the cluster, or that a client saw. */
  note(who: 'test' | 'client', what: string): void {
    this.#moments.push({ atMs: Date.now(), who, what })
  }

  /** Milliseconds from one moment to another, by the beginnings of what is said of them. */
  between(from: string, to: string): number {
    const at = (text: string): number => {
      const found = this.#moments.find(({ what }) => what.startsWith(text))
      if (found === undefined) throw new Error(`the timeline has no ${text}`)
      return found.atMs
    }
    return at(to) - at(from)
  }

  /** Takes in what the Placement Center decided meanwhile, and prints it all. */
  async tell(cluster: TestCluster): Promise<void> {
    for (const { time, kind, subject, reason } of await cluster.events('--limit', '0')) {
      const what = `${kind} ${subject}${reason === '' ? '' : `: ${reason}`}`
      const atMs = Date.parse(time)
      if (atMs >= this.#startedAtMs) this.#moments.push({ atMs, who: 'placement', what })
    }
    this.#moments.sort((one, other) => one.atMs - other.atMs)
    const lines = this.#moments.map(({ atMs, who, what }) => {
      const seconds = ((atMs - this.#startedAtMs) / 1_000).toFixed(3)
      return `  ${seconds.padStart(7)} s  ${who.padEnd(9)}  ${what}`
    })
    process.stderr.write(`\n[scene] ${this.#name}\n${lines.join('\n')}\n`)
  }
}
