/**
 * One seeded run of a cluster under faults. Throws what it finds wrong, with all that the seed decided.
 *
 * `safety`: faults befall everyone; every promise is checked after every step; when all is repaired the
 * members must agree. `liveness`: after a while a majority is healthy and stays so, while everyone else
 * goes on failing: the majority must make progress, again and again.
 */
import assert from 'node:assert'
import type { RaftLimits } from '../options.ts'
import { seededRandom } from '../testing/random.ts'
import { NO_FAULTS } from './network.ts'
import { configurationsOf, disturb, drawWeather, type Weather } from './weather.ts'
import { type WorkCounts, Workload } from './workload.ts'
import { World, type WorldCounts } from './world.ts'

export type SimulationMode = 'safety' | 'liveness'

/** What a seed decides before its run begins. */
export interface SimulationPlan {
  readonly seed: number
  readonly mode: SimulationMode
  readonly memberCount: number
  readonly spareCount: number
  readonly changesMembers: boolean
  readonly faultyTicks: number
  readonly limits: Partial<RaftLimits>
  readonly weather: Weather
}

export interface SimulationReport {
  readonly plan: SimulationPlan
  readonly ticks: number
  readonly commits: number
  readonly termsLed: number
  readonly world: WorldCounts
  readonly work: WorkCounts
  /** The same for the same seed, whatever the machine. */
  readonly fingerprint: string
}

export class SimulationFailure extends Error {
  override readonly name = 'SimulationFailure'
  readonly plan: SimulationPlan
  /** Where every host stood at the end. */
  readonly hosts: readonly string[]

  constructor(plan: SimulationPlan, cause: unknown, hosts: readonly string[]) {
    super(`seed ${plan.seed} (${plan.mode}): ${String(cause)}`, { cause })
    this.plan = plan
    this.hosts = hosts
  }
}

const PROGRESS_COMMANDS = 5
/** In between nothing is proposed, so that nobody's log is older than the leader's. */
const IDLE_TICKS = 120
/** Elections may have to be begun several times; a command takes a few ticks. */
const PROGRESS_TICKS = 400

export function drawPlan(seed: number, mode: SimulationMode): SimulationPlan {
  const random = seededRandom(mode === 'safety' ? seed * 2 : seed * 2 + 1)
  const below = (bound: number): number => Math.floor(random() * bound)
  const changesMembers = random() < 0.5
  const memberCount = changesMembers ? 1 + below(4) : [1, 2, 3, 3, 3, 4, 5, 5][below(8)]
  return {
    seed,
    mode,
    memberCount: memberCount ?? 3,
    spareCount: changesMembers ? 6 - (memberCount ?? 3) : 0,
    changesMembers,
    faultyTicks: mode === 'safety' ? 800 : 400,
    limits: {
      appendBytesMax: 60 + below(300),
      appendsInFlightMax: 1 + below(5),
      bytesInFlightMax: 100 + below(2_000),
      writeBytesMax: 100 + below(600),
      uncommittedBytesMax: 200 + below(20_000),
      snapshotEntries: 8 + below(60),
      trailingEntries: below(8),
      promoteLagEntriesMax: 3,
    },
    weather: drawWeather(random),
  }
}

/** @throws SimulationFailure */
export function simulate(
  seed: number,
  mode: SimulationMode,
  onEvent?: (text: string) => void,
): SimulationReport {
  const plan = drawPlan(seed, mode)
  const { memberCount, spareCount, limits } = plan
  const options = { seed, memberCount, spareCount, limits }
  const world = new World(onEvent === undefined ? options : { ...options, onEvent })
  try {
    return run(plan, world)
  } catch (error) {
    throw new SimulationFailure(
      plan,
      error,
      world.ids.map((id) => describeHost(world, id)),
    )
  }
}

function describeHost(world: World, id: string): string {
  const damage = world.isDamaged(id) ? ' damaged' : ''
  if (!world.isUp(id)) return `${id} down${damage}`
  const { role, term, leaderId, log, members } = world.node(id)
  const { firstIndex, lastIndex, commitIndex, appliedIndex } = log
  const names = members.map((member) => (member.role === 'learner' ? `(${member.id})` : member.id))
  const positions = `log ${firstIndex}-${lastIndex} commit ${commitIndex} applied ${appliedIndex}`
  const paused = world.isPaused(id) ? ' paused' : ''
  return `${id} ${role}${paused}${damage} term ${term} of ${leaderId}, ${positions}, ${names.join()}`
}

function run(plan: SimulationPlan, world: World): SimulationReport {
  const { weather } = plan
  const workload = new Workload(world, plan)
  world.faults = weather
  for (let step = 0; step < plan.faultyTicks; step += 1) {
    disturb(world, weather, world.ids)
    workload.step()
    world.tick()
    if (step % 25 === 0) world.checkLogMatching()
  }
  if (plan.mode === 'safety') settle(world)
  else demandProgress(world, plan)
  world.checkLogMatching()
  assert.deepEqual(world.deviants, [], 'states deviate')
  return {
    plan,
    ticks: world.tickCount,
    commits: world.invariants.highestCommit,
    termsLed: world.invariants.termsLed,
    world: world.counts,
    work: workload.counts,
    fingerprint: world.ids.map((id) => world.state(id)).join(),
  }
}

/** Everything works again: then the members of the newest configuration must agree on a new command. */
function settle(world: World): void {
  world.note('everything is repaired')
  world.faults = NO_FAULTS
  repair(world, world.ids)
  world.runUntil(() => {
    const leader = world.leader()
    if (leader === undefined) return false
    if (world.tickCount % 60 === 0) world.propose(leader, 'the-end')
    return isSettled(world, leader)
  }, 900)
}

function repair(world: World, ids: readonly string[]): void {
  world.network.healAmong(ids)
  for (const id of ids) {
    world.stuckDisks.delete(id)
    world.setDrift(id, 0)
    world.resume(id)
    if (!world.isUp(id)) world.start(id)
  }
}

function isSettled(world: World, leader: string): boolean {
  const node = world.node(leader)
  const sound = node.members.filter(({ id }) => !world.isDamaged(id) || world.isUp(id))
  if (sound.some(({ id }) => world.state(id) !== world.state(leader))) return false
  return wasApplied(world, 'the-end', leader)
}

/** Among the last things that a member has applied. */
function wasApplied(world: World, text: string, id: string): boolean {
  const index = world.node(id).log.appliedIndex
  for (let at = index; at > 0 && at > index - 40; at -= 1) {
    if (world.invariants.appliedText(at) === `command:${text}`) return true
  }
  return false
}

/** The others may go on as they like, against each other and against the healthy. */
function demandProgress(world: World, plan: SimulationPlan): void {
  const { weather } = plan
  const core = chooseCore(world)
  const others = world.ids.filter((id) => !core.includes(id))
  world.note(`${core.join()} are healthy from here on`)
  world.faults = NO_FAULTS
  let stable: { readonly id: string; readonly term: number } | undefined
  for (let command = 0; command < PROGRESS_COMMANDS; command += 1) {
    if (command === PROGRESS_COMMANDS - 1) {
      stable = healthyLeader(world, core)
      for (let idle = 0; idle < IDLE_TICKS; idle += 1) {
        disturb(world, weather, others)
        repair(world, core)
        world.tick()
      }
    } else if (plan.seed % 2 === 0) handOver(world, core)
    const text = `progress-${command}`
    const endTick = world.tickCount + PROGRESS_TICKS
    while (!core.some((id) => wasApplied(world, text, id))) {
      assert(world.tickCount < endTick, `no progress by ${core.join()} in ${PROGRESS_TICKS} ticks`)
      disturb(world, weather, others)
      repair(world, core)
      const leader = core.find((id) => world.node(id).role === 'leader') ?? world.leader()
      const mayAsk = leader !== undefined && !world.isPaused(leader)
      if (mayAsk && world.tickCount % 20 === 0) world.propose(leader, text)
      world.tick()
    }
  }
  if (stable === undefined) return
  const { role, term } = world.node(stable.id)
  assert(role === 'leader' && term === stable.term, `healthy leader ${stable.id} was deposed`)
}

/** Pre-vote and check-quorum: whoever leads a healthy majority, and belongs to it, is not deposed. */
function healthyLeader(world: World, core: readonly string[]) {
  const id = core.find((each) => world.node(each).role === 'leader')
  return id === undefined ? undefined : { id, term: world.node(id).term }
}

/** To anyone, who may be away: then it must end, and not hinder what is proposed after. */
function handOver(world: World, core: readonly string[]): void {
  const leader = healthyLeader(world, core)
  if (leader === undefined) return
  const { voters } = world.node(leader.id)
  const to = voters[Math.floor(world.random() * voters.length)]
  world.transfer(leader.id, to, 30)
}

/** As few sound hosts as make a majority in every configuration that is in force somewhere. */
function chooseCore(world: World): readonly string[] {
  repair(world, world.ids)
  const configurations = configurationsOf(world)
  const sound = world.ids.filter((id) => world.isUp(id))
  const core: string[] = []
  const isEnough = (voters: readonly string[]): boolean =>
    voters.filter((id) => core.includes(id)).length > voters.length / 2
  while (!configurations.every(isEnough) && core.length < sound.length) {
    const left = sound.filter((id) => !core.includes(id))
    core.push(left[Math.floor(world.random() * left.length)] ?? '')
  }
  return core
}
