/** What is said of groups, to and from the messages of `broker.proto`. Only shapes; no decisions. */
import { broker } from '@robust/proto'
import type {
  GroupDelivery,
  GroupLeave,
  GroupMember,
  GroupReceipt,
  GroupSettle,
} from '../core/groups/hosted-groups.ts'
import {
  fromWireAddress,
  fromWireMessage,
  fromWireSubscription,
  guaranteeOf,
  toWireAddress,
  toWireMessage,
} from './wire-values.ts'

export function toWireJoin(member: GroupMember): broker.GroupJoin {
  const { to, node, subscription, ...rest } = member
  return { ...rest, ...toWireAddress(to), nodeId: node, subscription: { ...subscription } }
}

export function fromWireJoin(wire: broker.GroupJoin): GroupMember {
  const { group, nodeId: node, nodeEpoch, durable, window } = wire
  const subscription = fromWireSubscription(
    wire.subscription ?? broker.Subscription.fromPartial({ filter: group }),
  )
  return { group, to: fromWireAddress(wire), node, nodeEpoch, durable, subscription, window }
}

export function toWireLeave({ group, to, forever }: GroupLeave): broker.GroupLeave {
  return { group, ...toWireAddress(to), forever }
}

export function fromWireLeave(wire: broker.GroupLeave): GroupLeave {
  const { group, forever } = wire
  return { group, to: fromWireAddress(wire), forever }
}

export function toWireSettle({ group, to, done, credit }: GroupSettle): broker.GroupSettle {
  return { group, ...toWireAddress(to), done: done.map(toWireReceipt), credit }
}

export function fromWireSettle(wire: broker.GroupSettle): GroupSettle {
  const { group, credit } = wire
  return { group, to: fromWireAddress(wire), done: wire.done.map(fromWireReceipt), credit }
}

export function toWireGroupMessage(delivery: GroupDelivery): broker.GroupMessage {
  const { message, receipt, ...rest } = delivery
  return { ...rest, message: toWireMessage(message), receipt: receipt && toWireReceipt(receipt) }
}

export function fromWireGroupMessage(wire: broker.GroupMessage): GroupDelivery {
  const { message, receipt, guarantee, ...rest } = wire
  return {
    ...rest,
    message: fromWireMessage(message),
    guarantee: guaranteeOf(guarantee),
    receipt: receipt && fromWireReceipt(receipt),
  }
}

function toWireReceipt({ id, level, offset, lease }: GroupReceipt): broker.GroupReceipt {
  return { id, level, offset, leaseEpoch: lease.epoch, leaseNumber: lease.number }
}

function fromWireReceipt(wire: broker.GroupReceipt): GroupReceipt {
  const { id, level, offset, leaseEpoch: epoch, leaseNumber: number } = wire
  return { id, level, offset, lease: { epoch, number } }
}
