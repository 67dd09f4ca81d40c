/** SUBSCRIBE: answers when no publish acknowledged from then on can miss the subscriber, then sends what is retained. */
import { isShared, plainFilter } from '../../../core/groups/shared-filter.ts'
import type { Message, Subscription } from '../../../core/message.ts'
import { effectiveGuarantee } from '../../../core/message.ts'
import type { Access } from '../../../security/access.ts'
import { reasonOf } from '../errors.ts'
import { toSubscription } from '../mapping.ts'
import { ReasonCode, type SubscribePacket, type SubscriptionRequest } from '../packets.ts'
import type { Connected, MqttSession } from '../session.ts'

export function handleSubscribe(session: MqttSession, packet: SubscribePacket): void {
  const { connected } = session
  if (connected !== undefined) void subscribe(session, connected, packet)
}

/** Of the first filter that was refused. */
const REASONS: Readonly<Record<number, string>> = {
  [ReasonCode.notAuthorized]: 'the client may not subscribe to this filter',
  [ReasonCode.serverUnavailable]: 'the session cannot be reached',
}

async function subscribe(
  session: MqttSession,
  connected: Connected,
  packet: SubscribePacket,
): Promise<void> {
  const identifier = packet.properties.subscriptionIdentifiers?.[0] ?? 0
  const { packetId } = packet
  const refusal = (request: SubscriptionRequest) => refusalOf(request, connected.access)
  const accepted = packet.subscriptions.filter((request) => refusal(request) === undefined)
  const wanted = accepted.map((request) => toSubscription(request, identifier))
  let existed: readonly boolean[] = []
  let failure: number | undefined
  try {
    if (wanted.length > 0) existed = await connected.session.subscribe(wanted)
  } catch (error) {
    failure = reasonOf(error)
  }
  const reasonCodes = packet.subscriptions.map(
    (request) => refusal(request) ?? failure ?? request.qos,
  )
  const reasonString = REASONS[reasonCodes.find((code) => code >= ReasonCode.unspecifiedError) ?? 0]
  const properties = session.explains && reasonString !== undefined ? { reasonString } : {}
  session.send({ kind: 'suback', packetId, reasonCodes, properties })
  if (failure !== undefined) return
  for (const [index, request] of accepted.entries()) {
    // [MQTT 5.0 section 4.8.2]: none for a shared subscription.
    if (isShared(request.filter)) continue
    const fresh = existed[index] !== true
    const wantsRetained = request.retainHandling === 0 || (request.retainHandling === 1 && fresh)
    const subscription = wanted[index]
    if (wantsRetained && subscription !== undefined) {
      await sendRetained(session, connected, subscription)
    }
  }
}

/** A reason not to accept the filter. The codec has checked its form. */
function refusalOf(
  { filter }: SubscriptionRequest,
  access: Access | undefined,
): number | undefined {
  return access?.maySubscribe(plainFilter(filter)) === false ? ReasonCode.notAuthorized : undefined
}

/** [MQTT-3.3.1-8] Retained messages keep their flag for a new subscription. */
async function sendRetained(
  session: MqttSession,
  connected: Connected,
  subscription: Subscription,
): Promise<void> {
  try {
    const messages = await session.services.messaging.retained(subscription.filter)
    const identifiers = subscription.identifier === 0 ? [] : [subscription.identifier]
    const durable: { message: Message; identifiers: readonly number[] }[] = []
    for (const stored of messages) {
      const guarantee = effectiveGuarantee(stored, [subscription])
      const message: Message = { ...stored, guarantee, retain: true, token: '' }
      if (guarantee > 0 && connected.session.durable) durable.push({ message, identifiers })
      else connected.outbound.sendLive(message, { guarantee, retain: true, identifiers })
    }
    if (durable.length > 0) await connected.session.enqueue(durable)
  } catch (error) {
    session.failed(error)
  }
}
