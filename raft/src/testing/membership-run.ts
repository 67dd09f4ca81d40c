/** One seeded run of a cluster with changes of members, transfers and faults; throws what it finds wrong. */
import type { MembershipChange } from '../core/membership.ts'
import { NO_FAULTS, World } from './world.ts'

const FAULTY_TICKS = 800
const TINY_LIMITS = {
  appendBytesMax: 120,
  appendsInFlightMax: 3,
  writeBytesMax: 150,
  snapshotEntries: 12,
  trailingEntries: 4,
  promoteLagEntriesMax: 3,
}

/** What was begun, by kind. */
export type RunCounts = Record<MembershipChange['kind'] | 'transfer', number>

export interface MembershipRun {
  readonly world: World
  readonly counts: RunCounts
}

export function simulateMembership(seed: number): MembershipRun {
  const memberCount = 1 + (seed % 4)
  const world = new World({ seed, memberCount, spareCount: 6 - memberCount, limits: TINY_LIMITS })
  const counts = { 'add-learner': 0, promote: 0, remove: 0, transfer: 0 }
  const run = { world, counts }
  world.faults = {
    drop: world.random() ** 2 * 0.2,
    duplicate: world.random() ** 2 * 0.2,
    delayMax: Math.floor(world.random() ** 2 * 12),
    writeDelayMax: Math.floor(world.random() ** 2 * 20),
  }
  const roughness = 0.2 + world.random() * 2
  for (let step = 0; step < FAULTY_TICKS; step += 1) {
    disturb(world, roughness)
    changeSomething(run)
    speak(world, step)
    world.tick()
    if (step % 25 === 0) world.checkLogMatching()
  }
  settle(world)
  world.checkLogMatching()
  return run
}

function pick(world: World, ids: readonly string[]): string {
  return ids[Math.floor(world.random() * ids.length)] ?? 'n1'
}

function disturb(world: World, roughness: number): void {
  const id = pick(world, world.ids)
  const dice = world.random() / roughness
  const victim = world.random() < 0.5 ? (world.leader() ?? id) : id
  if (dice < 0.008) {
    if (world.isUp(victim)) world.crash(victim)
  } else if (dice < 0.01) {
    for (const up of world.ids.filter((each) => world.isUp(each))) world.crash(up)
  } else if (dice < 0.02) world.isolate(victim)
  else if (dice < 0.026) world.cut(victim, pick(world, world.ids))
  else if (dice < 0.03) world.stuckDisks.add(victim)
  else if (dice < 0.036) world.split(world.ids.filter(() => world.random() < 0.5))
  if (world.random() < 0.06 && !world.isUp(id)) world.start(id)
  if (world.random() < 0.02) world.heal()
  if (world.random() < 0.03) world.stuckDisks.clear()
}

/** Any member that takes itself for a leader is asked, as in a partition there may be two. */
function changeSomething({ world, counts }: MembershipRun): void {
  const leaders = world.ids.filter((id) => world.isUp(id) && world.node(id).role === 'leader')
  for (const leader of leaders) {
    if (world.random() > 0.12) continue
    const node = world.node(leader)
    const id = pick(world, world.ids)
    const member = node.members.find((each) => each.id === id)
    if (world.random() < 0.15) {
      const to = world.random() < 0.3 ? undefined : id
      const outcome = world.transfer(leader, to, Math.ceil(world.random() * 60))
      if (outcome.kind === 'started') counts.transfer += 1
      continue
    }
    const change = chooseChange(id, member, node.voters.length)
    if (change === undefined) continue
    if (change.kind === 'add-learner' && !world.isUp(id)) world.start(id)
    if (world.change(leader, change).kind === 'appended') counts[change.kind] += 1
  }
}

function chooseChange(
  id: string,
  member: { readonly role?: string } | undefined,
  voterCount: number,
): MembershipChange | undefined {
  if (member === undefined) return { kind: 'add-learner', member: { id, address: id } }
  if (member.role === 'learner') return { kind: 'promote', member: { id } }
  // Otherwise the clusters would melt away: a change to a voter is always its removal.
  return voterCount > 2 ? { kind: 'remove', member: { id } } : undefined
}

function speak(world: World, step: number): void {
  const id = pick(world, world.ids)
  const target = world.random() < 0.7 ? (world.leader() ?? id) : id
  if (!world.isUp(target)) return
  if (world.random() < 0.5) world.propose(target, `${target}-${step}`)
  if (world.random() < 0.2) world.read(target)
}

/** Everything works again: then the members of the newest configuration must agree on a new command. */
function settle(world: World): void {
  world.faults = NO_FAULTS
  world.heal()
  world.stuckDisks.clear()
  for (const id of world.ids) if (!world.isUp(id)) world.start(id)
  world.runUntil(() => {
    const leader = world.leader()
    if (leader === undefined) return false
    if (world.tickCount % 60 === 0) world.propose(leader, 'the-end')
    return isSettled(world, leader)
  }, 900)
}

function isSettled(world: World, leader: string): boolean {
  const node = world.node(leader)
  if (node.members.some(({ id }) => world.state(id) !== world.state(leader))) return false
  const index = node.log.appliedIndex
  for (let at = index; at > 0 && at > index - 20; at -= 1) {
    if (world.invariants.appliedText(at) === 'command:the-end') return true
  }
  return false
}
