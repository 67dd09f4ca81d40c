/** What a simulated cluster is asked to do: commands, reads, changes of its members, transfers. */
import type { MembershipChange } from '../core/membership.ts'
import type { World } from './world.ts'

/** What was begun, by kind. */
export type WorkCounts = Record<
  MembershipChange['kind'] | 'transfer' | 'replaced' | 'proposed',
  number
>

export class Workload {
  readonly #world: World
  readonly #changesMembers: boolean
  readonly counts: WorkCounts = {
    'add-learner': 0,
    promote: 0,
    remove: 0,
    transfer: 0,
    replaced: 0,
    proposed: 0,
  }

  constructor(world: World, options: { readonly changesMembers: boolean }) {
    this.#world = world
    this.#changesMembers = options.changesMembers
  }

  /** Call with each tick. */
  step(): void {
    this.#replaceDamaged()
    if (this.#changesMembers) this.#changeSomething()
    this.#speak()
  }

  #pick(): string {
    const { ids, random } = this.#world
    return ids[Math.floor(random() * ids.length)] ?? 'n1'
  }

  #isReachable(id: string): boolean {
    return this.#world.isUp(id) && !this.#world.isPaused(id)
  }

  /** Any member that takes itself for a leader, as in a partition there may be two. */
  #leaders(): readonly string[] {
    const world = this.#world
    return world.ids.filter((id) => this.#isReachable(id) && world.node(id).role === 'leader')
  }

  #speak(): void {
    const world = this.#world
    const id = this.#pick()
    const target = world.random() < 0.7 ? (world.leader() ?? id) : id
    if (!this.#isReachable(target)) return
    if (world.random() < 0.5) {
      if (world.propose(target, `${target}-${world.tickCount}`)) this.counts.proposed += 1
    }
    if (world.random() < 0.2 && this.#isReachable(target)) world.read(target)
  }

  #changeSomething(): void {
    const world = this.#world
    for (const leader of this.#leaders()) {
      if (world.random() > 0.12 || !world.isUp(leader)) continue
      const node = world.node(leader)
      const id = this.#pick()
      if (world.random() < 0.15) {
        const to = world.random() < 0.3 ? undefined : id
        const outcome = world.transfer(leader, to, Math.ceil(world.random() * 60))
        if (outcome.kind === 'started') this.counts.transfer += 1
        continue
      }
      const member = node.members.find((each) => each.id === id)
      const change = chooseChange(id, member, node.voters.length)
      if (change === undefined || (change.kind === 'remove' && !this.#mayRemove(leader, id)))
        continue
      if (change.kind === 'add-learner' && !world.isUp(id) && !world.start(id)) continue
      this.#change(leader, change)
    }
  }

  /** An operator does not remove the sound while damaged ones are left to count. */
  #mayRemove(leader: string, id: string): boolean {
    const left = this.#world.node(leader).voters.filter((voter) => voter !== id)
    return left.filter((voter) => !this.#world.isDamaged(voter)).length > left.length / 2
  }

  #change(leader: string, change: MembershipChange): boolean {
    if (this.#world.change(leader, change).kind !== 'appended') return false
    this.counts[change.kind] += 1
    return true
  }

  /** The operator: a member whose disk is damaged leaves; another comes, under a new id. */
  #replaceDamaged(): void {
    const world = this.#world
    for (const leader of this.#leaders()) {
      const { members } = world.node(leader)
      const lost = members.find(({ id }) => world.isDamaged(id) && !world.isUp(id))
      if (lost !== undefined && world.random() < 0.5) {
        this.#change(leader, { kind: 'remove', member: { id: lost.id } })
        continue
      }
      const fresh = members.find(({ id, role }) => role === 'learner' && id.startsWith('r'))
      if (fresh !== undefined && world.random() < 0.2) {
        this.#change(leader, { kind: 'promote', member: { id: fresh.id } })
        continue
      }
      const isWanting = members.filter(({ id }) => !world.isDamaged(id)).length < 3
      if (!isWanting || this.counts.replaced >= world.counts.damagedStarts) continue
      if (world.random() < 0.5) continue
      const id = `r${this.counts.replaced + 1}`
      if (!world.ids.includes(id)) world.addHost(id)
      if (!world.isUp(id)) world.start(id)
      const isAdded = this.#change(leader, { kind: 'add-learner', member: { id, address: id } })
      if (isAdded) this.counts.replaced += 1
    }
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
