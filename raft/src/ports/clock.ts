/** Time as the driver needs it. The core has none: it is told of ticks. */
export interface Clock {
  /** Milliseconds on a clock that never goes back; only differences mean something. */
  nowMs(): number
  /** Calls `fn` about every `ms` milliseconds until stopped; late calls are not made up for. */
  every(ms: number, fn: () => void): { stop(): void }
}
