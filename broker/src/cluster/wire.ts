/** Core values to and from the messages of `broker.proto`. Only shapes; no decisions. */
import { broker } from '@robust/proto'
import type { Delivery } from '../core/ports/connections.ts'
import type { Place, PublishItem } from '../core/ports/peers.ts'
import type { Attached } from '../core/sessions/attach-requests.ts'
import type { Will } from '../core/sessions/session.ts'
import type { ShardReply, ShardRequest } from '../core/shard-requests.ts'
import {
  fromWireJoin,
  fromWireLeave,
  fromWireSettle,
  toWireJoin,
  toWireLeave,
  toWireSettle,
} from './wire-groups.ts'
import { fromWireAnswer, toWireAnswer } from './wire-queue-replies.ts'
import { fromWireCall, toWireCall } from './wire-queues.ts'
import {
  fromWireEnd,
  fromWireJoinCall,
  fromWireJoined,
  toWireJoined,
  toWireTransaction,
} from './wire-transactions.ts'
import {
  fromWireAddress,
  fromWireMessage,
  fromWireSubscription,
  toWireAddress,
  toWireMessage,
} from './wire-values.ts'

type WireRequest = NonNullable<broker.ShardRequest['kind']>

export function toWirePublish(item: PublishItem): broker.Publish {
  const { message, live } = item
  return { message: toWireMessage(message), live, places: item.places.map(toWirePlace) }
}

export function fromWirePublish(wire: broker.Publish): PublishItem {
  const { live } = wire
  return { message: fromWireMessage(wire.message), live, places: wire.places.map(fromWirePlace) }
}

const PLACES = {
  sessions: broker.PlaceKind.PLACE_KIND_SESSIONS,
  retained: broker.PlaceKind.PLACE_KIND_RETAINED,
  log: broker.PlaceKind.PLACE_KIND_LOG,
  groups: broker.PlaceKind.PLACE_KIND_GROUPS,
  queue: broker.PlaceKind.PLACE_KIND_QUEUE,
} as const

function toWirePlace(place: Place): broker.Place {
  const { kind, shard } = place
  const log = kind === 'log' ? place.log : kind === 'queue' ? place.queue : ''
  return { kind: PLACES[kind], shard, log, knownAt: kind === 'queue' ? place.knownAt : 0 }
}

function fromWirePlace({ kind, shard, log, knownAt }: broker.Place): Place {
  if (kind === PLACES.queue) return { kind: 'queue', shard, queue: log, knownAt }
  if (kind === PLACES.log) return { kind: 'log', shard, log }
  if (kind === PLACES.groups) return { kind: 'groups', shard }
  return { kind: kind === PLACES.retained ? 'retained' : 'sessions', shard }
}

export function toWireDelivery(delivery: Delivery): broker.InboxMessage {
  const { offset, redelivered, identifiers, released } = delivery
  const message = released ? undefined : toWireMessage(delivery.message)
  return { offset, redelivered, message, identifiers: [...identifiers], released }
}

export function fromWireDelivery(wire: broker.InboxMessage): Delivery {
  const { offset, redelivered, identifiers, released } = wire
  return { offset, redelivered, identifiers, released, message: fromWireMessage(wire.message) }
}

export function toWireRequest(shard: number, request: ShardRequest): broker.ShardRequest {
  return { shard, kind: toWireKind(request) }
}

function toWireKind(request: ShardRequest): WireRequest {
  switch (request.kind) {
    case 'attach': {
      const { node, will, user = '', ownerOnly = false, ...rest } = request.attach
      const who = { user, ownerOnly, nodeId: node }
      return { $case: 'attach', value: { ...rest, ...who, will: toWireWill(will) } }
    }
    case 'reattach': {
      const { node, will, user = '', ...rest } = request.reattach
      const who = { user, nodeId: node }
      return { $case: 'reattach', value: { ...rest, ...who, will: toWireWill(will) } }
    }
    case 'detach': {
      const { to, publishWill, expirySeconds } = request.detach
      const changeExpiry = expirySeconds !== undefined
      const expiry = { changeExpiry, expirySeconds: expirySeconds ?? 0 }
      return { $case: 'detach', value: { ...toWireAddress(to), publishWill, ...expiry } }
    }
    case 'subscribe': {
      const subscriptions = [...request.subscriptions]
      return { $case: 'subscribe', value: { ...toWireAddress(request.to), subscriptions } }
    }
    case 'unsubscribe': {
      const filters = [...request.filters]
      return { $case: 'unsubscribe', value: { ...toWireAddress(request.to), filters } }
    }
    case 'incoming': {
      const { to, packetId, token } = request
      const value = {
        ...toWireAddress(to),
        packetId,
        token: token ?? '',
        forget: token === undefined,
      }
      return { $case: 'incoming', value }
    }
    case 'start':
      return { $case: 'start', value: toWireAddress(request.to) }
    case 'release':
      return { $case: 'release', value: { ...toWireAddress(request.to), offset: request.offset } }
    case 'enqueue': {
      const messages = request.messages.map(({ message, identifiers }) =>
        toWireDelivery({ offset: 0, message, identifiers, redelivered: false, released: false }),
      )
      return { $case: 'enqueue', value: { ...toWireAddress(request.to), messages } }
    }
    case 'holds': {
      const { session, filter } = request
      return { $case: 'holds', value: { session, filter } }
    }
    case 'claim':
      return { $case: 'claim', value: request.claim }
    case 'retained': {
      const { shards, filter, after } = request
      return { $case: 'retained', value: { shards: [...shards], filter, after } }
    }
    case 'schedule': {
      const { message, dueAtMs } = request.schedule
      return { $case: 'schedule', value: { message: toWireMessage(message), dueAtMs } }
    }
    case 'join':
      return { $case: 'groupJoin', value: toWireJoin(request.member) }
    case 'leave':
      return { $case: 'groupLeave', value: toWireLeave(request.leave) }
    case 'settle':
      return { $case: 'groupSettle', value: toWireSettle(request.settle) }
    case 'queue':
      return { $case: 'queue', value: toWireCall(request.call) }
    case 'transaction':
      return toWireTransaction(request.call)
    default:
      return request satisfies never
  }
}

/** Undefined: a request of a newer broker that this one does not know. */
export function fromWireRequest(wire: broker.ShardRequest): ShardRequest | undefined {
  const { kind } = wire
  switch (kind?.$case) {
    case 'attach': {
      const { nodeId, will, ...rest } = kind.value
      return { kind: 'attach', attach: { ...rest, node: nodeId, will: fromWireWill(will) } }
    }
    case 'reattach': {
      const { nodeId, will, attachment, ...rest } = kind.value
      const known = attachment ?? { epoch: 0, counter: 0 }
      const reattach = { ...rest, node: nodeId, attachment: known, will: fromWireWill(will) }
      return { kind: 'reattach', reattach }
    }
    case 'detach': {
      const { publishWill, changeExpiry, expirySeconds } = kind.value
      const expiry = changeExpiry ? expirySeconds : undefined
      const to = fromWireAddress(kind.value)
      return { kind: 'detach', detach: { to, publishWill, expirySeconds: expiry } }
    }
    case 'subscribe': {
      const subscriptions = kind.value.subscriptions.map((wanted) => fromWireSubscription(wanted))
      return { kind: 'subscribe', to: fromWireAddress(kind.value), subscriptions }
    }
    case 'unsubscribe':
      return { kind: 'unsubscribe', to: fromWireAddress(kind.value), filters: kind.value.filters }
    case 'incoming': {
      const { packetId, token, forget } = kind.value
      const to = fromWireAddress(kind.value)
      return { kind: 'incoming', to, packetId, token: forget ? undefined : token }
    }
    case 'start':
      return { kind: 'start', to: fromWireAddress(kind.value) }
    case 'release':
      return { kind: 'release', to: fromWireAddress(kind.value), offset: kind.value.offset }
    case 'enqueue': {
      const messages = kind.value.messages.map((wired) => fromWireDelivery(wired))
      return { kind: 'enqueue', to: fromWireAddress(kind.value), messages }
    }
    case 'holds':
      return { kind: 'holds', ...kind.value }
    case 'claim':
      return { kind: 'claim', claim: kind.value }
    case 'retained':
      return { kind: 'retained', ...kind.value }
    case 'schedule': {
      const { message, dueAtMs } = kind.value
      return { kind: 'schedule', schedule: { message: fromWireMessage(message), dueAtMs } }
    }
    case 'groupJoin':
      return { kind: 'join', member: fromWireJoin(kind.value) }
    case 'groupLeave':
      return { kind: 'leave', leave: fromWireLeave(kind.value) }
    case 'groupSettle':
      return { kind: 'settle', settle: fromWireSettle(kind.value) }
    case 'queue': {
      const call = fromWireCall(kind.value)
      return call && { kind: 'queue', call }
    }
    case 'transactionJoin':
      return { kind: 'transaction', call: fromWireJoinCall(kind.value) }
    case 'transactionEnd':
      return { kind: 'transaction', call: fromWireEnd(kind.value) }
    case undefined:
      return undefined
    default:
      return kind satisfies never
  }
}

const STATUS = {
  ok: broker.ShardStatus.SHARD_STATUS_OK,
  'not-owner': broker.ShardStatus.SHARD_STATUS_NOT_OWNER,
  'taken-over': broker.ShardStatus.SHARD_STATUS_TAKEN_OVER,
  failed: broker.ShardStatus.SHARD_STATUS_FAILED,
  refused: broker.ShardStatus.SHARD_STATUS_REFUSED,
  'not-found': broker.ShardStatus.SHARD_STATUS_NOT_FOUND,
} as const satisfies Record<ShardReply['status'], broker.ShardStatus>

export function toWireReply(reply: ShardReply): broker.ShardReply {
  const ok = reply.status === 'ok' ? reply : undefined
  return {
    status: STATUS[reply.status],
    detail: 'detail' in reply ? reply.detail : '',
    attached: ok?.attached && toWireAttached(ok.attached),
    retained: (ok?.retained ?? []).map((message) => toWireMessage(message)),
    existed: [...(ok?.existed ?? [])],
    nextShards: [...(ok?.next?.shards ?? [])],
    nextAfter: ok?.next?.after ?? '',
    holder: ok?.holder ?? '',
    queue: ok?.queue && toWireAnswer(ok.queue),
    transaction: ok?.transaction && toWireJoined(ok.transaction),
  }
}

export function fromWireReply(wire: broker.ShardReply): ShardReply {
  switch (wire.status) {
    case broker.ShardStatus.SHARD_STATUS_OK: {
      const queue = wire.queue && fromWireAnswer(wire.queue)
      const reply = {
        status: 'ok' as const,
        existed: wire.existed,
        ...(queue && { queue }),
        ...(wire.transaction && { transaction: fromWireJoined(wire.transaction) }),
        ...(wire.holder !== '' && { holder: wire.holder }),
        retained: wire.retained.map((message) => fromWireMessage(message)),
        ...(wire.nextShards.length === 0
          ? {}
          : { next: { shards: wire.nextShards, after: wire.nextAfter } }),
      }
      return wire.attached ? { ...reply, attached: fromWireAttached(wire.attached) } : reply
    }
    case broker.ShardStatus.SHARD_STATUS_NOT_OWNER:
      return { status: 'not-owner' }
    case broker.ShardStatus.SHARD_STATUS_TAKEN_OVER:
      return { status: 'taken-over' }
    case broker.ShardStatus.SHARD_STATUS_REFUSED:
      return { status: 'refused', detail: wire.detail }
    case broker.ShardStatus.SHARD_STATUS_NOT_FOUND:
      return { status: 'not-found', detail: wire.detail }
    default:
      return { status: 'failed', detail: wire.detail }
  }
}

function toWireAttached(attached: Attached): broker.SessionAttached {
  return {
    attachment: { epoch: attached.attachment.epoch, counter: attached.attachment.counter },
    present: attached.present,
    durable: attached.durable,
    subscriptions: [...attached.subscriptions],
    incoming: [...attached.incoming].map(([packetId, token]) => ({ packetId, token })),
  }
}

function fromWireAttached(wire: broker.SessionAttached): Attached {
  return {
    attachment: wire.attachment ?? { epoch: 0, counter: 0 },
    present: wire.present,
    durable: wire.durable,
    subscriptions: wire.subscriptions.map((subscription) => fromWireSubscription(subscription)),
    incoming: new Map(wire.incoming.map(({ packetId, token }) => [packetId, token])),
  }
}

function toWireWill(will: Will | undefined): broker.Will | undefined {
  return will && { message: toWireMessage(will.message), delaySeconds: will.delaySeconds }
}

function fromWireWill(will: broker.Will | undefined): Will | undefined {
  return will && { message: fromWireMessage(will.message), delaySeconds: will.delaySeconds }
}
