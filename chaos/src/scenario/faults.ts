/** What can happen to a cluster, as a scenario says it. */

export const FAULT_KINDS = [
  'kill',
  'pause',
  'restart',
  'drain',
  'cut',
  'slow',
  'disk-full',
  'fsync-error',
  'power-loss',
  'clock-jump',
  'add-member',
  'wait',
  'together',
  'in-turn',
] as const

interface OnNodes {
  /**
   * A node, `leader`, a role (one of its nodes), a role in the plural (all of them), `all`, or
   * `all-brokers-but-one`.
   */
  readonly target: string
  /** How long it lasts, ms; then it is undone. */
  readonly forMs: number
}

export type Fault =
  | (OnNodes & { readonly kind: 'kill' | 'pause' | 'restart' | 'drain' })
  | (OnNodes & { readonly kind: 'disk-full' | 'fsync-error' | 'power-loss' })
  /** `aheadMs`: how far the time of day is ahead of the machine's while it lasts; below 0: behind. */
  | (OnNodes & { readonly kind: 'clock-jump'; readonly aheadMs: number })
  | (OnNodes & { readonly kind: 'cut'; readonly others: string; readonly oneWay: boolean })
  | (OnNodes & {
      readonly kind: 'slow'
      readonly others: string
      readonly oneWay: boolean
      readonly delayMs: number
      readonly jitterMs: number
      readonly lossPercent: number
    })
  | { readonly kind: 'wait'; readonly forMs: number }
  /** The Placement Center has one more node, which votes; afterwards it goes again. */
  | { readonly kind: 'add-member'; readonly forMs: number }
  | {
      /** `together`: begun at once, undone at once; `in-turn`: one begins when the one before has, all end at once. */
      readonly kind: 'together' | 'in-turn'
      readonly parts: readonly Fault[]
      readonly forMs: number
    }

/** Whether it needs processes whose disks and clocks can be broken. */
export function breaksProcesses(fault: Fault): boolean {
  if ('parts' in fault) return fault.parts.some(breaksProcesses)
  return ['disk-full', 'fsync-error', 'power-loss', 'clock-jump'].includes(fault.kind)
}

/** In the words of the scenario, with the nodes that were chosen. */
export function describeFault(fault: Fault, nodes: readonly string[]): string {
  const names = nodes.join(', ')
  switch (fault.kind) {
    case 'cut':
      return `cut ${names} from ${fault.others}${fault.oneWay ? ' (one way)' : ''}`
    case 'slow':
      return `slow ${names} to ${fault.others}: ${fault.delayMs} ms, ${fault.jitterMs} ms jitter, ${fault.lossPercent}% lost`
    case 'clock-jump':
      return `clock of ${names} jumps ${Math.abs(fault.aheadMs)} ms ${fault.aheadMs < 0 ? 'back' : 'ahead'}`
    case 'wait':
      return `wait ${fault.forMs} ms`
    case 'together':
    case 'in-turn':
      return fault.kind
    default:
      return `${fault.kind} ${names}`
  }
}
