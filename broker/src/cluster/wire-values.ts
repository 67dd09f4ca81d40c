/** Values that many messages of `broker.proto` carry. Only shapes; no decisions. */
import { broker } from '@robust/proto'
import type { Guarantee, Message, Subscription } from '../core/message.ts'
import type { Attachment, SessionAddress } from '../core/ports/connections.ts'

export function toWireMessage(message: Message): broker.Message {
  return {
    address: message.address,
    payload: message.payload,
    guarantee: message.guarantee,
    retain: message.retain,
    dialect: message.dialect,
    properties: message.properties,
    timestampMs: message.timestampMs,
    expiresAtMs: message.expiresAtMs,
    publisher: message.publisher,
    token: message.token,
  }
}

export function fromWireMessage(message: broker.Message | undefined): Message {
  const wire = message ?? broker.Message.fromPartial({})
  return { ...wire, guarantee: guaranteeOf(wire.guarantee) }
}

export function toWireAddress(to: SessionAddress): { session: string; attachment: Attachment } {
  const { epoch, counter } = to.attachment
  return { session: to.session, attachment: { epoch, counter } }
}

export function fromWireAddress(wire: {
  session: string
  attachment: broker.Attachment | undefined
}): SessionAddress {
  return { session: wire.session, attachment: wire.attachment ?? { epoch: 0, counter: 0 } }
}

export function fromWireSubscription(wire: broker.Subscription): Subscription {
  return { ...wire, guarantee: guaranteeOf(wire.guarantee) }
}

export function guaranteeOf(value: number): Guarantee {
  return value === 0 ? 0 : value === 1 ? 1 : 2
}
