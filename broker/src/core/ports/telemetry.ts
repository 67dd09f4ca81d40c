/** What is counted where it happens, cheaply, and read when somebody asks. */

/** Upper bounds in seconds: 100 us and its doubles up to 3.3 s. */
export const LATENCY_BOUNDS_SECONDS: readonly number[] = Array.from(
  { length: 16 },
  (_, at) => 2 ** at / 10_000,
)

const UNITS_PER_MS = 10

/** How long something took, over the life of the process. */
export class Latencies {
  /** By bound, each for itself; the last is of what took longer than any. */
  readonly counts = new Float64Array(LATENCY_BOUNDS_SECONDS.length + 1)
  sumMs = 0

  record(ms: number): void {
    this.sumMs += ms
    const units = Math.ceil(ms * UNITS_PER_MS)
    const index = units <= 1 ? 0 : 32 - Math.clz32(Math.min(units, 0x7fff_ffff) - 1)
    const last = this.counts.length - 1
    const at = Math.min(index, last)
    this.counts[at] = (this.counts[at] ?? 0) + 1
  }
}

/** One for each name that turns up: there must be few. */
export class NamedLatencies {
  readonly byName = new Map<string, Latencies>()

  of(name: string): Latencies {
    let known = this.byName.get(name)
    if (known === undefined) {
      known = new Latencies()
      this.byName.set(name, known)
    }
    return known
  }
}

/** Counts by a name of which there are few. */
export class NamedCounts {
  readonly byName = new Map<string, number>()

  add(name: string, count = 1): void {
    this.byName.set(name, (this.byName.get(name) ?? 0) + count)
  }
}
