/** SUBSCRIBE: answers when no publish acknowledged from then on can miss the subscriber, then sends what is retained. */
import { isShared, plainFilter } from '../../../core/groups/shared-filter.ts'
import type { Message, Subscription } from '../../../core/message.ts'
import { effectiveGuarantee } from '../../../core/message.ts'
import { filterMatches } from '../../../core/messaging.ts'
import { reasonOf } from '../errors.ts'
import { toSubscription } from '../mapping.ts'
import { ReasonCode, type SubscribePacket, type SubscriptionRequest } from '../packets.ts'
import { isFilter } from '../rewrite.ts'
import type { Connected, MqttSession } from '../session.ts'

export function handleSubscribe(session: MqttSession, packet: SubscribePacket): void {
  const { connected } = session
  if (connected !== undefined) void subscribe(session, connected, packet)
}

const EXCLUSIVE = '$exclusive/'

/** Of the first filter that was refused. */
const REASONS: Readonly<Record<number, string>> = {
  [ReasonCode.notAuthorized]: 'the client may not subscribe to this filter',
  [ReasonCode.quotaExceeded]: 'another session has this filter for itself',
  [ReasonCode.topicFilterInvalid]: 'this filter cannot be had',
  [ReasonCode.serverUnavailable]: 'the session cannot be reached',
}

/** A filter of the request, as it is kept. */
interface Asked {
  readonly request: SubscriptionRequest
  readonly subscription: Subscription
  /** Nobody else may have it. */
  readonly isExclusive: boolean
  refusal: number | undefined
}

async function subscribe(
  session: MqttSession,
  connected: Connected,
  packet: SubscribePacket,
): Promise<void> {
  const identifier = packet.properties.subscriptionIdentifiers?.[0] ?? 0
  const { packetId } = packet
  const asked = packet.subscriptions.map((request): Asked => {
    const { filter, isExclusive } = filterOf(connected, request.filter)
    const subscription = toSubscription({ ...request, filter }, identifier)
    const refusal = refusalOf(session, connected, { filter, isExclusive, qos: request.qos })
    return { request, subscription, isExclusive, refusal }
  })
  await claim(session, asked)
  const accepted = asked.filter(({ refusal }) => refusal === undefined)
  let existed: readonly boolean[] = []
  try {
    const wanted = accepted.map(({ subscription }) => subscription)
    if (wanted.length > 0) existed = await connected.session.subscribe(wanted)
    await confirmClaims(session, connected, accepted)
  } catch (error) {
    for (const each of accepted) each.refusal ??= reasonOf(error)
  }
  const reasonCodes = asked.map(({ refusal, request }) => refusal ?? request.qos)
  const reasonString = REASONS[reasonCodes.find((code) => code >= ReasonCode.unspecifiedError) ?? 0]
  const properties = session.explains && reasonString !== undefined ? { reasonString } : {}
  session.send({ kind: 'suback', packetId, reasonCodes, properties })
  for (const [index, { request, subscription, refusal }] of accepted.entries()) {
    // [MQTT 5.0 section 4.8.2]: none for a shared subscription.
    if (refusal !== undefined || isShared(subscription.filter)) continue
    const retainHandling = request.retainHandling
    const isNew = existed[index] !== true
    await sendRetained(session, connected, { subscription, retainHandling, isNew })
  }
}

/** What a filter of a client is called here. */
export function filterOf(
  { rewriter }: Connected,
  asked: string,
): { readonly filter: string; readonly isExclusive: boolean } {
  const filter = rewriter.filter(asked)
  const isExclusive = filter.startsWith(EXCLUSIVE)
  return { filter: isExclusive ? filter.slice(EXCLUSIVE.length) : filter, isExclusive }
}

/** A reason not to accept the filter. The codec has checked the form of what the client sent. */
function refusalOf(
  session: MqttSession,
  { access }: Connected,
  { filter, isExclusive, qos }: { filter: string; isExclusive: boolean; qos: number },
): number | undefined {
  const isOff = isExclusive && !session.services.policy().hasExclusive
  if (isOff || !isFilter(filter)) return ReasonCode.topicFilterInvalid
  const isAllowed = access?.maySubscribe(plainFilter(filter), qos) !== false
  return isAllowed ? undefined : ReasonCode.notAuthorized
}

/** An exclusive subscription is claimed first, so that two who ask at once do not both get it. */
async function claim(session: MqttSession, asked: readonly Asked[]): Promise<void> {
  const { messaging } = session.services
  for (const each of asked) {
    if (!each.isExclusive || each.refusal !== undefined) continue
    const { filter } = each.subscription
    try {
      const isMine = await messaging.claim(filter, session.clientId, filter)
      if (!isMine) each.refusal = ReasonCode.quotaExceeded
    } catch (error) {
      each.refusal = reasonOf(error)
    }
  }
}

/** Somebody who asked before this session was subscribed may have found the claim unused. */
async function confirmClaims(
  session: MqttSession,
  connected: Connected,
  accepted: readonly Asked[],
): Promise<void> {
  const exclusive = accepted.filter(({ isExclusive }) => isExclusive)
  await claim(session, exclusive)
  const lost = exclusive.flatMap(({ refusal, subscription }) =>
    refusal === undefined ? [] : [subscription.filter],
  )
  if (lost.length > 0) await connected.session.unsubscribe(lost)
}

/** [MQTT-3.3.1-8] Retained messages keep their flag for a new subscription. */
export async function sendRetained(
  session: MqttSession,
  connected: Connected,
  { subscription, retainHandling, isNew }: Fresh,
): Promise<void> {
  if (retainHandling === 2 || (retainHandling === 1 && !isNew)) return
  try {
    const { messaging, system } = session.services
    const { filter } = subscription
    const said = filter.startsWith('$SYS/') ? system.current() : []
    const matching = said.filter(({ address }) => filterMatches(filter, address))
    await sendKept(connected, subscription, matching)
    await messaging.retainedPages(filter, async (kept) => {
      await sendKept(connected, subscription, kept)
      return hasCaughtUp(session, connected)
    })
  } catch (error) {
    session.failed(error)
  }
}

async function sendKept(
  connected: Connected,
  subscription: Subscription,
  kept: readonly Message[],
): Promise<void> {
  const identifiers = subscription.identifier === 0 ? [] : [subscription.identifier]
  const durable: { message: Message; identifiers: readonly number[] }[] = []
  for (const stored of kept) {
    const guarantee = effectiveGuarantee(stored, [subscription])
    const message: Message = { ...stored, guarantee, retain: true, token: '' }
    if (guarantee > 0 && connected.session.durable) durable.push({ message, identifiers })
    else connected.outbound.sendLive(message, { guarantee, retain: true, identifiers })
  }
  if (durable.length > 0) await connected.session.enqueue(durable)
}

/** More is only found when the client has taken most of what was sent. False: it is gone. */
async function hasCaughtUp(session: MqttSession, { outbound }: Connected): Promise<boolean> {
  const { clock } = session.services
  while (session.state === 'connected' && outbound.isBehind) {
    await new Promise<void>((resolve) => clock.after(BEHIND_LOOK_MS, resolve))
  }
  return session.state === 'connected'
}

const BEHIND_LOOK_MS = 5

interface Fresh {
  readonly subscription: Subscription
  readonly retainHandling: 0 | 1 | 2
  readonly isNew: boolean
}
