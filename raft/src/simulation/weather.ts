/** What goes wrong in a simulated run, and how often: drawn from its seed, so that each run is another. */
import type { World } from './world.ts'

type FaultAction = (world: World, victims: readonly string[], at: Spot) => void

/** The host that is struck, and another one. */
interface Spot {
  readonly id: string
  readonly other: string
}

/** Every kind of fault. */
const FAULT_ACTIONS = {
  crash: (world, _victims, { id }) => {
    if (world.isUp(id)) world.crash(id)
  },
  'crash-all': (world, victims) => {
    for (const id of victims) if (world.isUp(id)) world.crash(id)
  },
  pause: (world, _victims, { id }) => world.pause(id),
  isolate: (world, _victims, { id }) => {
    world.isolate(id)
    world.note(`${id} is cut off`)
  },
  'one-way': (world, _victims, { id, other }) => {
    world.cut(id, other)
    world.note(`${other} does not hear ${id}`)
  },
  deaf: (world, _victims, { id }) => {
    for (const other of world.ids) world.cut(other, id)
    world.note(`${id} hears nobody`)
  },
  split: (world) => {
    const side = world.ids.filter(() => world.random() < 0.5)
    world.split(side)
    world.note(`${side.join()} are split off`)
  },
  ring: (world) => {
    world.network.ring(world.ids)
    world.note('each hears only one')
  },
  'stuck-disk': (world, _victims, { id }) => {
    world.stuckDisks.add(id)
    world.note(`the disk of ${id} is stuck`)
  },
  drift: (world, _victims, { id }) => world.setDrift(id, world.random() - 0.5),
  'bit-flip': (world, _victims, { id }) => {
    if (canSpare(world, id)) world.flipBit(id)
  },
} satisfies Record<string, FaultAction>

export type FaultKind = keyof typeof FAULT_ACTIONS

/** How often each comes, against the others. */
const WEIGHTS: Readonly<Record<FaultKind, number>> = {
  crash: 8,
  'crash-all': 1,
  pause: 6,
  isolate: 6,
  'one-way': 6,
  deaf: 3,
  split: 4,
  ring: 1,
  'stuck-disk': 4,
  drift: 2,
  'bit-flip': 2,
}

export interface Weather {
  /** Probability of a fault in a tick. */
  readonly roughness: number
  readonly kinds: readonly FaultKind[]
  readonly drop: number
  readonly duplicate: number
  readonly delayMax: number
  readonly writeDelayMax: number
  readonly syncError: number
}

/** Some runs have all kinds of faults, others few, which then get deeper. */
export function drawWeather(random: () => number): Weather {
  const all = Object.keys(WEIGHTS) as FaultKind[]
  const part = random()
  const kinds = part > 0.6 ? all : all.filter(() => random() < 0.35)
  return {
    roughness: 0.005 + random() * 0.07,
    kinds,
    drop: random() ** 2 * 0.2,
    duplicate: random() ** 2 * 0.2,
    delayMax: Math.floor(random() ** 2 * 12),
    writeDelayMax: Math.floor(random() ** 2 * 20),
    syncError: random() < 0.3 ? random() * 0.01 : 0,
  }
}

/** Call with each tick. `victims`: whom faults may befall. */
export function disturb(world: World, weather: Weather, victims: readonly string[]): void {
  if (victims.length === 0) return
  const pick = (): string => victims[Math.floor(world.random() * victims.length)] ?? ''
  if (weather.kinds.length > 0 && world.random() < weather.roughness) {
    const leader = world.leader()
    const isLeaderHit = leader !== undefined && victims.includes(leader) && world.random() < 0.5
    const spot = { id: isLeaderHit ? leader : pick(), other: pick() }
    const action: FaultAction = FAULT_ACTIONS[draw(weather.kinds, world.random)]
    action(world, victims, spot)
  }
  const id = pick()
  if (world.random() < 0.06 && !world.isUp(id)) world.start(id)
  if (world.isPaused(id) && world.random() < 0.05) {
    world.resume(id)
    // Asked before it looks at what waited: an old leader does not know yet that it is one.
    if (world.isUp(id)) world.read(id)
  }
  if (world.random() < 0.03) world.stuckDisks.delete(id)
  if (world.random() < 0.005) world.setDrift(id, 0)
}

function draw(kinds: readonly FaultKind[], random: () => number): FaultKind {
  const total = kinds.reduce((sum, kind) => sum + WEIGHTS[kind], 0)
  let dice = random() * total
  for (const kind of kinds) {
    dice -= WEIGHTS[kind]
    if (dice < 0) return kind
  }
  return 'crash'
}

/**
 * A damaged disk is lost for good, and Raft survives the loss of a minority. So as many sound voters must
 * remain, in every configuration that is in force somewhere, as make a majority.
 */
function canSpare(world: World, id: string): boolean {
  return configurationsOf(world).every((voters) => {
    const sound = voters.filter((voter) => voter !== id && !world.isDamaged(voter))
    return sound.length > voters.length / 2
  })
}

/** The voters by every configuration that some member may act by: on a disk, in a log, undone or not. */
export function configurationsOf(world: World): readonly (readonly string[])[] {
  const found = new Map<string, readonly string[]>()
  for (const id of world.ids) {
    for (const voters of world.votersBy(id)) found.set(voters.join(), voters)
  }
  return [...found.values()]
}
