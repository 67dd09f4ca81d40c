/**
 * Moves shards away from hot brokers. A broker is hot when its smoothed load was above the band for several
 * reports in a row, and stays so until it is within half of the band (hysteresis). After a move both brokers
 * are left alone until as many new reports show what it did. Reports that are not fresh are not gone by.
 */
import type { placement } from '@robust/proto'
import type { ShardEntry } from '../metadata/state.ts'
import type { SettingsView } from '../settings.ts'
import type { RecordDecision } from './overload.ts'
import {
  type BrokerLoad,
  planRebalance,
  type RebalanceMove,
  type Scored,
  scoreBrokers,
} from './rebalance-plan.ts'
import type { KeptReport } from './reports.ts'

export interface RebalanceOptions {
  readonly settings: SettingsView
  readonly assignment: {
    readonly movesUnderWay: number
    isMoving(shard: number): boolean
    move(shard: ShardEntry, how: { to: string; reason: string }): void
  }
  readonly shard: (number: number) => ShardEntry | undefined
  readonly record: RecordDecision
  /** Monotonic. */
  readonly nowMs: () => number
}

interface Watched {
  readonly nodeEpoch: number
  /** Reports that were looked at. */
  seen: number
  load: BrokerLoad
  /** Reports in a row above the band. */
  above: number
  isHot: boolean
  /** No move from or to it before this many reports. */
  restUntil: number
  /** It was said that no move would help. */
  isToldStuck: boolean
}

/** Of a new report in the smoothed load. */
const SMOOTHING = 0.4

const MINUTE_MS = 60_000

export class Rebalance {
  readonly #options: RebalanceOptions
  readonly #watched = new Map<string, Watched>()
  /** When shards were moved in the last minute. */
  #moved: number[] = []

  constructor(options: RebalanceOptions) {
    this.#options = options
  }

  /** Call regularly, with reports that are fresh. */
  step(reports: readonly KeptReport[]): void {
    const { settings } = this.#options
    const news = this.#take(reports)
    if (!settings.get('rebalance.enabled')) {
      for (const watched of this.#watched.values()) this.#coolDown(watched)
      return
    }
    if (news.size === 0 || reports.length < 2) return
    const scored = scoreBrokers(this.#loads(reports))
    this.#judge(scored.filter(({ nodeId }) => news.has(nodeId)))
    this.#plan(scored, reports)
  }

  tidy(isMember: (nodeId: string) => boolean): void {
    for (const nodeId of this.#watched.keys()) if (!isMember(nodeId)) this.#watched.delete(nodeId)
  }

  /** Which brokers have reported since the step before. */
  #take(reports: readonly KeptReport[]): ReadonlySet<string> {
    const news = new Set<string>()
    for (const { node, report, count } of reports) {
      const load = toLoad(node.nodeId, report)
      const known = this.#watched.get(node.nodeId)
      if (known?.nodeEpoch !== node.nodeEpoch) {
        const { nodeEpoch } = node
        const rest = { above: 0, isHot: false, restUntil: 0, isToldStuck: false }
        this.#watched.set(node.nodeId, { nodeEpoch, seen: count, load, ...rest })
        news.add(node.nodeId)
      } else if (known.seen < count) {
        known.seen = count
        known.load = smooth(known.load, load)
        news.add(node.nodeId)
      }
    }
    return news
  }

  #loads(reports: readonly KeptReport[]): readonly BrokerLoad[] {
    return reports.flatMap(({ node }) => {
      const load = this.#watched.get(node.nodeId)?.load
      return load === undefined ? [] : [load]
    })
  }

  /** Once for each report. */
  #judge(scored: readonly Scored[]): void {
    const { settings, record } = this.#options
    const band = settings.get('rebalance.band-percent') / 100
    const needed = settings.get('rebalance.reports')
    const messagesMin = settings.get('rebalance.messages-min')
    for (const broker of scored) {
      const watched = this.#watched.get(broker.nodeId)
      if (watched === undefined) continue
      if (watched.isHot) {
        if (broker.score >= 1 + band / 2 && isBusy(broker, messagesMin)) continue
        this.#coolDown(watched)
        record('BrokerCooled', broker.nodeId, describe(broker))
      } else if (broker.score > 1 + band && isBusy(broker, messagesMin)) {
        watched.above += 1
        if (watched.above < needed) continue
        watched.isHot = true
        record('BrokerHot', broker.nodeId, `${describe(broker)}, in ${watched.above} reports`)
      } else watched.above = 0
    }
  }

  #coolDown(watched: Watched): void {
    watched.isHot = false
    watched.above = 0
    watched.isToldStuck = false
  }

  #plan(scored: readonly Scored[], reports: readonly KeptReport[]): void {
    const { settings, assignment, nowMs } = this.#options
    this.#moved = this.#moved.filter((atMs) => nowMs() - atMs < MINUTE_MS)
    const movesMax = settings.get('rebalance.moves-per-minute') - this.#moved.length
    // What is under way changes the loads: wait until it shows.
    if (movesMax <= 0 || assignment.movesUnderWay > 0) return
    const isRested = (nodeId: string): boolean => {
      const watched = this.#watched.get(nodeId)
      return watched !== undefined && watched.seen >= watched.restUntil
    }
    const sources = scored.filter(({ nodeId }) => this.#watched.get(nodeId)?.isHot === true)
    const targets = reports.filter(({ node }) => node.drain === undefined)
    const movable = scored.map((broker) => ({ ...broker, shards: this.#movable(broker) }))
    const moves = planRebalance({
      brokers: movable,
      sources: new Set(sources.map(({ nodeId }) => nodeId).filter(isRested)),
      targets: new Set(targets.map(({ node }) => node.nodeId).filter(isRested)),
      movesMax,
    })
    for (const move of moves) this.#move(move)
    for (const source of sources) {
      const isMoving = moves.some(({ from }) => from === source.nodeId)
      if (!isMoving && isRested(source.nodeId)) this.#tellStuck(source)
    }
  }

  /** Shards that it serves by the metadata as well, and that nobody moves. */
  #movable(broker: Scored): Scored['shards'] {
    const { assignment, shard } = this.#options
    return broker.shards.filter((load) => {
      const entry = shard(load.shard)
      const isIts = entry?.opened === true && entry.owner?.nodeId === broker.nodeId
      return isIts && !assignment.isMoving(load.shard)
    })
  }

  #move({ shard: number, from, to, scores }: RebalanceMove): void {
    const { assignment, shard, nowMs, settings } = this.#options
    const entry = shard(number)
    if (entry === undefined) return
    this.#moved.push(nowMs())
    for (const nodeId of [from, to]) {
      const watched = this.#watched.get(nodeId)
      if (watched !== undefined) {
        watched.restUntil = watched.seen + settings.get('rebalance.reports')
      }
    }
    const [hot, cool, moved] = [scores.from, scores.to, scores.moved].map((score) =>
      score.toFixed(2),
    )
    const reason = `for load: ${from} at ${hot} of the mean, ${to} at ${cool}, the shard is ${moved}`
    assignment.move(entry, { to, reason })
  }

  #tellStuck(source: Scored): void {
    const watched = this.#watched.get(source.nodeId)
    if (watched === undefined || watched.isToldStuck) return
    watched.isToldStuck = true
    const reason = `${describe(source)}; no move of one of its shards would make it better`
    this.#options.record('RebalanceStuck', source.nodeId, reason)
  }
}

function toLoad(nodeId: string, report: placement.RuntimeReport): BrokerLoad {
  return {
    nodeId,
    connections: report.connections,
    messages: report.messagesInPerSecond + report.messagesOutPerSecond,
    bytes: report.bytesInPerSecond + report.bytesOutPerSecond,
    loopDelayMs: report.eventLoopDelayMs,
    cpuFraction: report.cpuFraction,
    memoryBytes: report.memoryBytes,
    shards: report.shards,
  }
}

/** Of its own shards as they are now; those that left do not count any more. */
function smooth(before: BrokerLoad, now: BrokerLoad): BrokerLoad {
  const old = new Map(before.shards.map((load) => [load.shard, load]))
  return {
    nodeId: now.nodeId,
    connections: now.connections,
    messages: mix(before.messages, now.messages),
    bytes: mix(before.bytes, now.bytes),
    loopDelayMs: mix(before.loopDelayMs, now.loopDelayMs),
    cpuFraction: mix(before.cpuFraction, now.cpuFraction),
    memoryBytes: now.memoryBytes,
    shards: now.shards.map((load) => {
      const earlier = old.get(load.shard) ?? load
      return {
        shard: load.shard,
        operationsPerSecond: mix(earlier.operationsPerSecond, load.operationsPerSecond),
        bytesPerSecond: mix(earlier.bytesPerSecond, load.bytesPerSecond),
      }
    }),
  }
}

function mix(before: number, now: number): number {
  return before * (1 - SMOOTHING) + now * SMOOTHING
}

function isBusy({ messages, shards }: BrokerLoad, messagesMin: number): boolean {
  const operations = shards.reduce((sum, load) => sum + load.operationsPerSecond, 0)
  return Math.max(messages, operations) >= messagesMin
}

function describe({ score, messages, bytes, cpuFraction, connections, shards }: Scored): string {
  const operations = shards.reduce((sum, load) => sum + load.operationsPerSecond, 0)
  const parts = [
    `load ${score.toFixed(2)} of the mean`,
    `${Math.round(messages)} messages/s`,
    `${Math.round(bytes / 1_000)} kB/s`,
    `${Math.round(operations)} operations/s on ${shards.length} shards`,
    `CPU ${Math.round(cpuFraction * 100)}%`,
    `${connections} connections`,
  ]
  return parts.join(', ')
}
