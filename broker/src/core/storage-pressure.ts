/**
 * How near the storage is to refusing what adds, and what that means for publishers to durable places: from
 * some pressure on they are slowed, the more the nearer it is; when it is full they are refused, or wait if
 * their dialect has no way to say no. It ends by itself.
 *
 * Nothing is refused here: this only tells.
 */
import type { Clock, Timer } from './ports/clock.ts'

export interface StoragePressureOptions {
  readonly clock: Clock
  /** As the storage port tells it, 0 to 1. */
  readonly level: () => number
  /** Once at the beginning and once at the end of each episode. */
  readonly onChange?: (state: PressureState, level: number) => void
}

export type PressureState = 'calm' | 'slow' | 'full'

/** Publishers are slowed from the first on, refused from the second on; an episode ends this much below. */
const SLOW_FROM = 0.75
const FULL_FROM = 0.98
const HYSTERESIS = 0.03
/** The slowest: an acknowledgement waits no longer than this, and a socket is looked at this often, ms. */
const SLOWEST_MS = 1_000
const LOOK_MS = 250

export class StoragePressure {
  readonly #options: StoragePressureOptions
  /** Shards with a commit that storage has no room for. */
  readonly #refused = new Set<number>()
  readonly #onFull: (() => void)[] = []
  #state: PressureState = 'calm'
  #timer: Timer | undefined

  constructor(options: StoragePressureOptions) {
    this.#options = options
  }

  start(): void {
    this.#timer = this.#options.clock.after(LOOK_MS, () => {
      this.#look()
      this.start()
    })
  }

  stop(): void {
    this.#timer?.cancel()
  }

  get level(): number {
    return this.#refused.size > 0 ? 1 : this.#options.level()
  }

  /** For how long a publish is held up now, ms; 0 while there is room. */
  get delayMs(): number {
    const { level } = this
    if (level < SLOW_FROM) return 0
    const share = Math.min(1, (level - SLOW_FROM) / (1 - SLOW_FROM))
    return Math.ceil(SLOWEST_MS * share * share)
  }

  get isFull(): boolean {
    return this.level >= FULL_FROM
  }

  /** Runs `act` when storage has become full, and from time to time while it is. */
  whenFull(act: () => void): void {
    this.#onFull.push(act)
  }

  /** Storage has refused a commit of the shard with FULL; it is tried again. */
  refused(shard: number): void {
    this.#refused.add(shard)
    this.#look()
  }

  /** A commit of the shard has got through, or the shard is not served here any more. */
  accepted(shard: number): void {
    if (this.#refused.size > 0 && this.#refused.delete(shard)) this.#look()
  }

  #look(): void {
    const before = this.#state
    const { level } = this
    if (level >= FULL_FROM - (before === 'full' ? HYSTERESIS : 0)) this.#state = 'full'
    else if (level >= SLOW_FROM - (before === 'calm' ? 0 : HYSTERESIS)) this.#state = 'slow'
    else this.#state = 'calm'
    if (this.#state !== before) this.#options.onChange?.(this.#state, level)
    if (this.isFull) for (const act of this.#onFull) act()
  }
}
