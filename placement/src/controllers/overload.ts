/**
 * Brokers that have more than they can do: after a while above a threshold they refuse new connections and
 * give up a share of their clients, again and again until they are well below it.
 */
import type { placement } from '@robust/proto'
import type { NodeEntry } from '../metadata/state.ts'
import type { SettingsView } from '../settings.ts'
import type { BrokerControl } from './broker-control.ts'
import type { KeptReport } from './reports.ts'
import type { Throttling } from './throttling.ts'

export interface OverloadOptions {
  readonly settings: SettingsView
  readonly throttling: Throttling
  readonly control: Pick<BrokerControl, 'shed'>
  readonly record: RecordDecision
  /** Monotonic. */
  readonly nowMs: () => number
}

export type RecordDecision = (kind: string, subject: string, reason: string) => void

interface Condition {
  readonly nodeEpoch: number
  /** Since when the other side of the threshold is seen without a break; undefined: it is not. */
  sinceMs: number | undefined
  isOverloaded: boolean
  shedAtMs: number
  isShedding: boolean
}

export class Overload {
  readonly #options: OverloadOptions
  readonly #conditions = new Map<string, Condition>()

  constructor(options: OverloadOptions) {
    this.#options = options
  }

  /** Call regularly, with reports that are fresh. */
  step(reports: readonly KeptReport[]): void {
    const isEnabled = this.#options.settings.get('overload.enabled')
    for (const { node, report } of reports) {
      if (isEnabled) this.#assess(node, report)
      else this.#forget(node.nodeId)
    }
    for (const { node, report } of reports) {
      const condition = this.#conditions.get(node.nodeId)
      if (condition?.isOverloaded !== true || node.drain !== undefined) continue
      const targets = targetsFor(node, reports, (nodeId) => this.isOverloaded(nodeId))
      this.#relieve(node, { report, condition, targets })
    }
  }

  isOverloaded(nodeId: string): boolean {
    return this.#conditions.get(nodeId)?.isOverloaded === true
  }

  tidy(isMember: (nodeId: string) => boolean): void {
    for (const nodeId of this.#conditions.keys()) if (!isMember(nodeId)) this.#forget(nodeId)
  }

  #forget(nodeId: string): void {
    this.#conditions.delete(nodeId)
    this.#options.throttling.wish(nodeId, 'overload', undefined)
  }

  #assess(node: NodeEntry, report: placement.RuntimeReport): void {
    const { settings, nowMs, record, throttling } = this.#options
    const { nodeId, nodeEpoch } = node
    let condition = this.#conditions.get(nodeId)
    if (condition?.nodeEpoch !== nodeEpoch) {
      this.#forget(nodeId)
      condition = {
        nodeEpoch,
        sinceMs: undefined,
        isOverloaded: false,
        shedAtMs: Number.NEGATIVE_INFINITY,
        isShedding: false,
      }
      this.#conditions.set(nodeId, condition)
    }
    const strain = strainOf(report, settings)
    const share = condition.isOverloaded ? settings.get('overload.lift-percent') / 100 : 1
    const above = strain.filter(({ value, limit }) => value > limit * share)
    const isOther = above.length > 0 !== condition.isOverloaded
    if (!isOther) {
      condition.sinceMs = undefined
      return
    }
    condition.sinceMs ??= nowMs()
    const forMs = nowMs() - condition.sinceMs
    if (forMs < settings.get('overload.after-ms')) return
    condition.sinceMs = undefined
    condition.isOverloaded = !condition.isOverloaded
    const told = (condition.isOverloaded ? above : strain).map(describe).join(', ')
    const lasted = `for ${(forMs / 1000).toFixed(1)} s`
    if (condition.isOverloaded) {
      record('BrokerOverloaded', nodeId, `${told}, ${lasted}; it refuses new connections`)
    } else {
      throttling.wish(nodeId, 'overload', undefined)
      record('BrokerRelieved', nodeId, `${told}, ${lasted}; it takes connections again`)
    }
  }

  #relieve(
    node: NodeEntry,
    now: {
      readonly report: placement.RuntimeReport
      readonly condition: Condition
      readonly targets: readonly string[]
    },
  ): void {
    const { settings, throttling, nowMs } = this.#options
    const { report, condition, targets } = now
    const strain = strainOf(report, settings).filter(({ value, limit }) => value > limit)
    const reason = strain.map(describe).join(', ')
    const acceptPerSecond = settings.get('overload.accept-per-second')
    throttling.wish(node.nodeId, 'overload', { acceptPerSecond, targets, reason: 'overloaded' })
    const share = settings.get('overload.shed-percent') / 100
    const isDue = nowMs() - condition.shedAtMs >= settings.get('overload.shed-interval-ms')
    // Below the threshold it gives up no more clients, though it does not take new ones yet.
    if (!isDue || condition.isShedding || strain.length === 0) return
    if (share === 0 || targets.length === 0 || report.connections === 0) return
    condition.shedAtMs = nowMs()
    condition.isShedding = true
    void this.#shed(node, { share, targets, reason }).finally(() => {
      condition.isShedding = false
    })
  }

  async #shed(
    node: NodeEntry,
    order: { readonly share: number; readonly targets: readonly string[]; readonly reason: string },
  ): Promise<void> {
    const { settings, control, record } = this.#options
    const perSecond = settings.get('overload.shed-per-second')
    const closeOthers = settings.get('overload.close-others')
    try {
      const clients = await control.shed(node, { ...order, perSecond, closeOthers })
      const to = order.targets.join(', ')
      record('ClientsShed', node.nodeId, `${clients} clients are moved to ${to}: ${order.reason}`)
    } catch {
      // It is told again after the interval.
    }
  }
}

interface Strain {
  readonly what: string
  readonly value: number
  readonly limit: number
  readonly unit: string
}

/** What has a threshold, with where it is. */
function strainOf(report: placement.RuntimeReport, settings: SettingsView): readonly Strain[] {
  const all: readonly Strain[] = [
    {
      what: 'event-loop delay',
      value: report.eventLoopDelayMs,
      limit: settings.get('overload.loop-delay-ms'),
      unit: ' ms',
    },
    {
      what: 'memory',
      value: report.memoryBytes,
      limit: settings.get('overload.memory-bytes'),
      unit: ' bytes',
    },
    {
      what: 'connections',
      value: report.connections,
      limit: settings.get('overload.connections'),
      unit: '',
    },
  ]
  return all.filter(({ limit }) => limit > 0)
}

function describe({ what, value, limit, unit }: Strain): string {
  return `${what} ${Math.round(value)}${unit} (threshold ${limit})`
}

/** Brokers that can take clients of another one, those with the fewest connections first. */
export function targetsFor(
  node: NodeEntry,
  reports: readonly KeptReport[],
  isUnfit: (nodeId: string) => boolean,
): readonly string[] {
  return reports
    .filter(({ node: other }) => other.nodeId !== node.nodeId && other.drain === undefined)
    .filter(({ node: other }) => !isUnfit(other.nodeId))
    .toSorted((one, other) => one.report.connections - other.report.connections)
    .map(({ node: other }) => other.nodeId)
}
