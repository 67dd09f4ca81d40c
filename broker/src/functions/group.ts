/**
 * One group of sessions that share a filter: a queue, and its members as consumers of it. What was given to a member
 * that goes before it has it is given to another. At-most-once messages touch no storage.
 */
import type { GroupDelivery, GroupMember, GroupSettle } from '../core/groups/hosted-groups.ts'
import type { Guarantee, Message, Subscription } from '../core/message.ts'
import { isNewer, type SessionAddress } from '../core/ports/connections.ts'
import type { DispatchStrategy } from '../core/queues/queue-policy.ts'
import type { Received } from '../core/queues/queue-requests.ts'
import { fromRecord, toRecord } from '../core/record.ts'
import type { Consumer } from './consumers.ts'
import type { Queue } from './queue.ts'
import { settleOne } from './settling.ts'

export interface Member {
  readonly session: string
  to: SessionAddress
  /** Undefined: it is not connected. */
  node: string | undefined
  nodeEpoch: number
  durable: boolean
  subscription: Subscription
  consumer: Consumer | undefined
  /** Exactly-once messages that were sent to it, by level and offset: nobody else may get them. [MQTT-4.8.2-5] */
  readonly begun: Set<string>
}

export interface GroupOptions {
  readonly name: string
  readonly queue: Queue
  readonly keeps: boolean
  readonly dispatch: () => DispatchStrategy
  readonly push: (node: string, to: SessionAddress, delivery: GroupDelivery) => void
}

export class Group {
  readonly name: string
  readonly queue: Queue
  readonly members = new Map<string, Member>()
  readonly #options: GroupOptions
  /** Some member has ever wanted messages acknowledged. Stored, since members join a new owner one by one. */
  keeps: boolean
  /** At-most-once messages that nobody was there for. */
  dropped = 0

  constructor(options: GroupOptions) {
    this.#options = options
    this.name = options.name
    this.queue = options.queue
    this.keeps = options.keeps
  }

  /** Whether it is one that was stored; it is now as the member says. Undefined: an older connection said so. */
  async join(joining: GroupMember): Promise<Member | undefined> {
    const { to, node, nodeEpoch, durable, subscription, window } = joining
    const before = this.members.get(to.session)
    if (before?.node !== undefined && isNewer(before.to.attachment, to.attachment)) return undefined
    if (before?.consumer !== undefined) await this.#disconnect(before)
    const member: Member = {
      session: to.session,
      ...{ to, node, nodeEpoch, durable, subscription },
      consumer: undefined,
      begun: new Set(),
    }
    this.members.set(to.session, member)
    member.consumer = this.queue.receivers.addConsumer(
      {
        id: to.session,
        node,
        nodeEpoch,
        priority: 0,
        matches: undefined,
        push: (received) => this.#give(member, received),
      },
      Math.max(1, window),
    )
    return member
  }

  /** Undefined: a newer connection has joined, or there is no such member. Else whether it has gone for good. */
  async leave(to: SessionAddress, forever: boolean): Promise<'gone' | 'away' | undefined> {
    const member = this.members.get(to.session)
    if (member === undefined) return undefined
    if (member.node !== undefined && isNewer(member.to.attachment, to.attachment)) return undefined
    await this.#disconnect(member)
    if (!forever && member.durable) return 'away'
    if (this.members.get(to.session) === member) this.members.delete(to.session)
    return 'gone'
  }

  async #disconnect(member: Member): Promise<void> {
    const { consumer } = member
    member.node = undefined
    member.consumer = undefined
    if (consumer === undefined) return
    await this.queue.removeConsumer(consumer, (entry) => member.begun.has(placeOf(entry)))
  }

  /** At most once: to one that is there. */
  deliverLoosely(message: Message): void {
    const { consumers } = this.queue.receivers
    const [here] = consumers.peers()
    if (here === undefined) {
      this.dropped++
      return
    }
    const chosen = here.chooseAny(this.#options.dispatch(), toRecord(message))
    const member = this.members.get(chosen.id)
    if (member !== undefined)
      this.#push(member, message, { receipt: undefined, redelivered: false })
  }

  settle({ to, done, credit }: GroupSettle): Promise<void> {
    const member = this.members.get(to.session)
    const { consumer } = member ?? {}
    const isCurrent = member !== undefined && !isNewer(member.to.attachment, to.attachment)
    if (consumer !== undefined && isCurrent) this.queue.receivers.consumers.allow(consumer, credit)
    return this.queue.change(() => {
      for (const { id, level, offset, lease } of done) {
        member?.begun.delete(placeOf({ level, offset }))
        const receipt = { queueId: id, queue: this.name, level, offset, lease }
        settleOne(this.queue, { receipt, action: { kind: 'acknowledge' } })
      }
    })
  }

  /** Called while the queue is being served: what follows must not wait. */
  #give(member: Member, { receipt, record, deliveries }: Received): void {
    const { message } = fromRecord({ ...record, offset: receipt.offset })
    const { level, offset, lease, queueId: id } = receipt
    const guarantee = guaranteeOf(message, member.subscription)
    const redelivered = deliveries > 1
    // Of a durable session it goes to the inbox first, and stays its own by that.
    if (guarantee === 2 && !member.durable) member.begun.add(placeOf({ level, offset }))
    if (guarantee > 0) {
      this.#push(member, message, { receipt: { id, level, offset, lease }, redelivered })
      return
    }
    // At most once for this member: it is done when it is sent.
    this.#push(member, message, { receipt: undefined, redelivered })
    const settled = { id, level, offset, lease }
    const { to } = member
    void this.settle({ group: this.name, to, done: [settled], credit: 1 }).catch(() => undefined)
  }

  #push(
    { node, to, subscription }: Member,
    message: Message,
    how: Pick<GroupDelivery, 'receipt' | 'redelivered'>,
  ): void {
    if (node === undefined) return
    this.#options.push(node, to, {
      group: this.name,
      message,
      guarantee: guaranteeOf(message, subscription),
      retain: message.retain && subscription.retainAsPublished,
      identifier: subscription.identifier,
      ...how,
    })
  }
}

function placeOf({ level, offset }: { readonly level: number; readonly offset: number }): string {
  return `${level}/${offset}`
}

function guaranteeOf(message: Message, subscription: Subscription): Guarantee {
  return Math.min(message.guarantee, subscription.guarantee) as Guarantee
}
