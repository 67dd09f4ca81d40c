/**
 * Which shards should leave hot brokers, from what the brokers report. Pure: loads in, scores and moves out.
 *
 * A broker's score is its load relative to the mean of all, weighted over what is reported; 1 is the mean.
 * Of a broker's score the shards carry what their share of its operations says.
 */

export interface ShardLoad {
  readonly shard: number
  readonly operationsPerSecond: number
  readonly bytesPerSecond: number
}

export interface BrokerLoad {
  readonly nodeId: string
  readonly connections: number
  /** In and out, each second. */
  readonly messages: number
  readonly bytes: number
  readonly loopDelayMs: number
  readonly cpuFraction: number
  readonly memoryBytes: number
  readonly shards: readonly ShardLoad[]
}

export interface Scored extends BrokerLoad {
  readonly score: number
}

interface Dimension {
  readonly weight: number
  /** A mean below this is noise. */
  readonly floor: number
  readonly of: (load: BrokerLoad) => number
}

const DIMENSIONS: readonly Dimension[] = [
  { weight: 3, floor: 20, of: ({ shards }) => sum(shards.map((each) => each.operationsPerSecond)) },
  { weight: 2, floor: 100, of: ({ messages }) => messages },
  { weight: 1, floor: 100_000, of: ({ bytes }) => bytes },
  { weight: 2, floor: 0.05, of: ({ cpuFraction }) => cpuFraction },
  { weight: 2, floor: 5, of: ({ loopDelayMs }) => loopDelayMs },
  { weight: 0.5, floor: 20, of: ({ connections }) => connections },
  { weight: 0.5, floor: 512 * 1024 ** 2, of: ({ memoryBytes }) => memoryBytes },
]

/** Of the mean, between the highest and the lowest. */
const SPREAD_MIN = 0.1

export function scoreBrokers(loads: readonly BrokerLoad[]): readonly Scored[] {
  const scores = loads.map(() => 0)
  let weights = 0
  for (const { weight, floor, of } of DIMENSIONS) {
    const values = loads.map(of)
    const mean = sum(values) / values.length
    if (!(mean >= floor) || !tellsApart(values, mean)) continue
    weights += weight
    for (const [at, value] of values.entries()) {
      scores[at] = (scores[at] ?? 0) + (weight * value) / mean
    }
  }
  return loads.map((load, at) => ({
    ...load,
    score: weights === 0 ? 1 : (scores[at] ?? 0) / weights,
  }))
}

/**
 * What is alike everywhere says nothing about who is hot, and must not water down what does: the delay of the
 * event loop on one machine, the memory of processes that have just started.
 */
function tellsApart(values: readonly number[], mean: number): boolean {
  return Math.max(...values) - Math.min(...values) >= mean * SPREAD_MIN
}

export interface RebalanceInput {
  readonly brokers: readonly Scored[]
  /** Hot for long enough, and not just relieved. */
  readonly sources: ReadonlySet<string>
  /** May be given shards, and was not just given some. */
  readonly targets: ReadonlySet<string>
  readonly movesMax: number
}

export interface RebalanceMove {
  readonly shard: number
  readonly from: string
  readonly to: string
  /** Before and after, as scores. */
  readonly scores: { readonly from: number; readonly to: number; readonly moved: number }
}

/** A move must take this part of the distance between the two brokers away, else it could go on for ever. */
const GAIN_MIN = 0.001

/** Of the average shard of its broker: a shard with less is not worth a gap. */
const WEIGHT_MIN = 0.5

/** At most one move from each source and one to each target: what it did must be seen before the next. */
export function planRebalance(input: RebalanceInput): readonly RebalanceMove[] {
  const hot = input.brokers
    .filter(({ nodeId }) => input.sources.has(nodeId))
    .toSorted((one, other) => other.score - one.score)
  const cool = input.brokers
    .filter(({ nodeId, score }) => input.targets.has(nodeId) && score < 1)
    .toSorted((one, other) => one.score - other.score)
  const moves: RebalanceMove[] = []
  for (const source of hot) {
    const target = cool[0]
    if (target === undefined || moves.length >= input.movesMax) break
    const best = bestShard(source, target)
    if (best === undefined) continue
    cool.shift()
    const scores = { from: source.score, to: target.score, moved: best.score }
    moves.push({ shard: best.shard, from: source.nodeId, to: target.nodeId, scores })
  }
  return moves
}

/** The shard whose move makes the hotter of the two as cool as possible. */
function bestShard(
  source: Scored,
  target: Scored,
): { readonly shard: number; readonly score: number } | undefined {
  const distance = source.score - target.score
  const total = sum(source.shards.map(weightOf))
  if (!(total > 0) || source.shards.length < 2) return undefined
  let best: { shard: number; score: number; gain: number } | undefined
  const least = (total / source.shards.length) * WEIGHT_MIN
  for (const load of source.shards) {
    if (weightOf(load) < least) continue
    const score = (source.score * weightOf(load)) / total
    const hotter = Math.max(source.score - score, target.score + score)
    const gain = source.score - hotter
    if (gain >= distance * GAIN_MIN && (best === undefined || gain > best.gain)) {
      best = { shard: load.shard, score, gain }
    }
  }
  return best
}

/** A kilobyte costs about as much as a record. */
function weightOf({ operationsPerSecond, bytesPerSecond }: ShardLoad): number {
  return operationsPerSecond + bytesPerSecond / 1_024
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
