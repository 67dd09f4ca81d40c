/** A member of a group whose coordinator assigns partitions, and how it comes to what it is assigned (KIP-848). */
import type { Timer } from '../../../core/ports/clock.ts'
import type { AssignorName } from './assignors.ts'
import {
  both,
  byTopic,
  NO_PARTITIONS,
  type PartitionSet,
  type PartitionsById,
  setOf,
  without,
} from './partition-set.ts'

/** What a member by the classic protocol has beside. */
export interface ClassicPart {
  readonly sessionMs: number
  /** In the order in which it likes them; metadata in base 64. */
  readonly protocols: readonly { readonly name: string; readonly metadata: string }[]
}

export type Reconciliation =
  /** It has its target, or is about to be looked at. */
  | 'stable'
  /** It has to give partitions up. */
  | 'revoking'
  /** It waits for partitions that others have not given up. */
  | 'waiting'

interface Attributes {
  readonly id: string
  readonly instanceId: string | null
  rackId: string | null
  clientId: string
  clientHost: string
  rebalanceMs: number
  names: readonly string[]
  /** Empty: it has none. */
  pattern: string
  /** Names that the pattern matches, and that its client might not see when it was heard last. */
  hidden: readonly string[]
  /** Null: it does not care. */
  assignor: AssignorName | null
  /** That it was told last; -2: a static member that will be back. */
  epoch: number
  epochBefore: number
  reconciliation: Reconciliation
  /** Undefined: it speaks the new protocol. */
  classic: ClassicPart | null
}

export interface ConsumerMember extends Attributes {
  /** What it has and may read. */
  assigned: PartitionSet
  /** What it has and must not. */
  revoking: PartitionSet
  /** What it is to have. */
  target: PartitionSet
  session: Timer | undefined
  /** Ends it when it does not give up what it must. */
  revocation: Timer | undefined
}

export interface StoredConsumerMember extends Readonly<Attributes> {
  readonly assigned: readonly PartitionsById[]
  readonly revoking: readonly PartitionsById[]
  readonly target: readonly PartitionsById[]
}

export function newMember(
  given: Pick<Attributes, 'id' | 'instanceId' | 'clientId' | 'clientHost'>,
): ConsumerMember {
  return {
    ...given,
    ...{ rackId: null, rebalanceMs: 0, names: [], pattern: '', hidden: [] },
    ...{ assignor: null, classic: null },
    ...{ epoch: 0, epochBefore: 0, reconciliation: 'stable' },
    ...{ assigned: NO_PARTITIONS, revoking: NO_PARTITIONS, target: NO_PARTITIONS },
    ...{ session: undefined, revocation: undefined },
  }
}

export function storedConsumer(member: ConsumerMember): StoredConsumerMember {
  const { session, revocation, assigned, revoking, target, ...rest } = member
  return {
    ...rest,
    assigned: byTopic(assigned),
    revoking: byTopic(revoking),
    target: byTopic(target),
  }
}

export function restoredConsumer(stored: StoredConsumerMember): ConsumerMember {
  const { assigned, revoking, target, ...rest } = stored
  return {
    ...rest,
    ...{ assigned: setOf(assigned), revoking: setOf(revoking), target: setOf(target) },
    ...{ session: undefined, revocation: undefined },
  }
}

export interface Reconciling {
  readonly targetEpoch: number
  /** What the member says that it has; null: it does not say. */
  readonly owned: PartitionSet | null
  /** Another member has the partition, or has not said yet that it has given it up. */
  readonly isHeld: (key: string) => boolean
}

/**
 * One step of the member towards its target: first it gives up what it is to lose, then it gets what others have given
 * up. False: nothing has changed.
 */
export function reconcile(member: ConsumerMember, how: Reconciling): boolean {
  switch (member.reconciliation) {
    case 'stable':
      return member.epoch !== how.targetEpoch && advance(member, how)
    case 'revoking':
      if (how.owned === null || both(how.owned, member.revoking).size > 0) return false
      return advance(member, how)
    case 'waiting':
      return advance(member, how)
    default:
      return member.reconciliation satisfies never
  }
}

function advance(member: ConsumerMember, { targetEpoch, owned, isHeld }: Reconciling): boolean {
  const { assigned, target, epoch, reconciliation } = member
  const kept = both(assigned, target)
  const lost = without(assigned, target)
  if (lost.size > 0 && (owned === null || both(owned, lost).size > 0)) {
    member.assigned = kept
    member.revoking = lost
    member.reconciliation = 'revoking'
    return true
  }
  const wanted = without(target, kept)
  const free = [...wanted].filter((key) => !isHeld(key))
  member.assigned = new Set([...kept, ...free])
  member.revoking = NO_PARTITIONS
  member.reconciliation = free.length < wanted.size ? 'waiting' : 'stable'
  if (epoch !== targetEpoch) {
    member.epochBefore = epoch
    member.epoch = targetEpoch
  }
  const isSame = epoch === targetEpoch && reconciliation === member.reconciliation
  return !(isSame && free.length === 0 && lost.size === 0)
}
