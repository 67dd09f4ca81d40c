/** CONNECT: checks what the codec cannot, attaches the session wherever its shard is, answers. */
import { isUtf8 } from 'node:buffer'
import type { AttachedSession } from '../../../core/attached-session.ts'
import { BrokerError } from '../../../core/errors.ts'
import type { Subscription } from '../../../core/message.ts'
import { EXPIRES_AT_ONCE, EXPIRES_NEVER } from '../../../core/sessions/session.ts'
import type { Access } from '../../../security/access.ts'
import { reasonOf, refusalReason } from '../errors.ts'
import { Inbound } from '../inbound.ts'
import {
  CLIENT_ID_BYTES_MAX,
  OUTGOING_ALIASES_MAX,
  PENDING_BYTES_USUAL,
  RECEIVE_MAXIMUM,
  TOPIC_ALIAS_MAXIMUM,
  WINDOW_3X,
  WINDOW_MAX,
} from '../limits.ts'
import { filledIn, toSubscription, toWill } from '../mapping.ts'
import { Outbound, type OutboundLimits } from '../outbound.ts'
import { type ConnectPacket, type Properties, ReasonCode } from '../packets.ts'
import { isFilter } from '../rewrite.ts'
import type { Connected, MqttSession } from '../session.ts'
import { authenticate, type Identity } from './authenticate.ts'
import { sendRetained } from './subscribe.ts'

export function handleConnect(session: MqttSession, packet: ConnectPacket): void {
  session.heard(packet)
  const refusal = refusalOf(session, packet)
  if (refusal !== undefined) {
    session.refuse(refusal.reasonCode, { reason: refusal.reason })
    return
  }
  if (!admit(session, packet)) return
  const { address } = session.transport.peer
  if (session.services.bans.isBanned({ clientId: packet.clientId, user: undefined, address })) {
    refuseBanned(session)
    return
  }
  const clientId = packet.clientId === '' ? session.services.nextClientId() : packet.clientId
  session.beginConnecting(clientId)
  void connect(session, packet, clientId)
}

function admit(session: MqttSession, packet: ConnectPacket): boolean {
  const { admission, log } = session.services
  const refusal = admission.admit(session.transport.peer.entrance)
  if (refusal === undefined) return true
  const { reason, server } = refusal
  log.warn(
    { errId: 'MQTT_CONNECTION_REFUSED', client: packet.clientId, reason },
    'a client was not let in',
  )
  session.refuse(refusalReason(refusal), { server, reason })
  return false
}

/** Who is given a name comes under another one each time. */
function isFlapping(session: MqttSession, clientId: string): boolean {
  if (clientId === '') return false
  const { flapping, events, log } = session.services
  const seen = flapping.connects(clientId)
  if (seen === 'in') return false
  if (seen === 'begins') {
    events.flapping(session, clientId)
    const fields = {
      errId: 'MQTT_FLAPPING_CLIENT',
      client: clientId,
      reason: 'it connects too often',
    }
    log.warn(fields, 'a client is kept out for a time')
  }
  session.refuse(ReasonCode.banned, { reason: 'the client connects too often' })
  return true
}

interface Refused {
  readonly reasonCode: number
  readonly reason: string
}

function refusalOf(session: MqttSession, packet: ConnectPacket): Refused | undefined {
  const { clientId, version, cleanStart, will, properties } = packet
  const { clientIdentifierNotValid, badAuthenticationMethod, payloadFormatInvalid } = ReasonCode
  // Before MQTT 5 a client without a name has nothing to come back to. [MQTT-3.1.3-8]
  if (clientId === '' && version < 5 && (!cleanStart || version === 3)) {
    return { reasonCode: clientIdentifierNotValid, reason: 'the client identifier is empty' }
  }
  if (Buffer.byteLength(clientId) > CLIENT_ID_BYTES_MAX) {
    return { reasonCode: clientIdentifierNotValid, reason: 'the client identifier is too long' }
  }
  // [MQTT-4.12.0-1]
  const method = properties.authenticationMethod
  if (method !== undefined && session.services.security.method(method) === undefined) {
    const reason = 'the authentication method is not known'
    return { reasonCode: badAuthenticationMethod, reason }
  }
  const isText = will?.properties.payloadFormatIndicator === 1
  if (isText && session.services.policy().checksPayloadFormat && !isUtf8(will.payload)) {
    const reason = 'the payload of the will is not the UTF-8 that it is said to be'
    return { reasonCode: payloadFormatInvalid, reason }
  }
  return undefined
}

async function connect(
  session: MqttSession,
  packet: ConnectPacket,
  clientId: string,
): Promise<void> {
  let attached: AttachedSession | undefined
  let entered: string | undefined
  try {
    const identity = await authenticate(session, packet)
    if (identity === undefined || session.state !== 'connecting') return
    if (!enter(session, packet, identity)) return
    entered = identity.user
    attached = await attach(session, packet, identity)
    await forgetForbidden(attached, identity.access)
    const given = await subscribeUnasked(session, attached, identity)
    const connected = assemble(session, { attached, packet, identity })
    if (!session.finishConnecting(connected)) {
      connected.rates.leave()
      session.services.admission.leave(entered)
      await attached.detach({ publishWill: true, expirySeconds: undefined })
      return
    }
    acknowledge(session, connected, identity.proof)
    for (const fresh of given) void sendRetained(session, connected, fresh)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    session.services.log.warn(
      { errId: 'MQTT_CONNECT_FAILED', client: clientId, reason },
      'a client could not be connected',
    )
    if (entered !== undefined && session.connected === undefined) {
      session.services.admission.leave(entered)
    }
    const isAnothers = error instanceof BrokerError && error.code === 'REFUSED'
    const reasonCode = isAnothers ? ReasonCode.notAuthorized : reasonOf(error)
    const told = isAnothers ? error.message : 'the session cannot be reached'
    session.refuse(reasonCode, { reason: told })
    await attached?.detach({ publishWill: false, expirySeconds: undefined })
  }
}

/** Limits and bans, now that it is known who it is: nobody gets another one's client id banned. */
function enter(session: MqttSession, packet: ConnectPacket, { user }: Identity): boolean {
  const { clientId, services, transport } = session
  const { address } = transport.peer
  if (services.bans.isBanned({ clientId, user, address })) {
    refuseBanned(session)
    return false
  }
  if (isFlapping(session, packet.clientId)) return false
  const refusal = services.admission.enter(user)
  if (refusal === undefined) return true
  const { reason } = refusal
  const fields = { errId: 'MQTT_CONNECTION_REFUSED', client: clientId, reason }
  services.log.warn(fields, 'a client was not let in')
  session.refuse(refusalReason(refusal), { reason })
  return false
}

function refuseBanned(session: MqttSession): void {
  const { clientId: client, services, transport } = session
  const fields = { errId: 'MQTT_CLIENT_BANNED', client, reason: 'it is banned' }
  services.log.warn({ ...fields, remote: transport.remote }, 'a client was not let in')
  session.refuse(ReasonCode.banned, { reason: 'the client is banned' })
}

function attach(
  session: MqttSession,
  packet: ConnectPacket,
  { rewriter, owner: user }: Identity,
): Promise<AttachedSession> {
  const { messaging, clock } = session.services
  const will = packet.will && { ...packet.will, topic: rewriter.topic(packet.will.topic) }
  const options = {
    session: session.clientId,
    cleanStart: packet.cleanStart,
    ...{ user, ownerOnly: session.services.policy().keepsOwner },
    expirySeconds: session.expiryOf(expiryOf(packet)),
    window: windowOf(packet),
    will: toWill(will, session.clientId, clock.wallMs()),
  }
  return messaging.attach(options, session)
}

function acknowledge(session: MqttSession, connected: Connected, proof: Properties): void {
  const { connect, session: attached } = connected
  const keepAliveSeconds = keepAliveOf(session, connect)
  session.transport.setKeepAlive(keepAliveSeconds)
  const properties =
    connect.version === 5 ? { ...offered(session, connected, keepAliveSeconds), ...proof } : {}
  const sessionPresent = attached.present
  session.send({ kind: 'connack', sessionPresent, reasonCode: ReasonCode.success, properties })
  attached.start()
  session.transport.setReading(true)
}

/** What operators want every client to be subscribed to, as far as it may be. */
async function subscribeUnasked(
  { services, clientId }: MqttSession,
  attached: AttachedSession,
  { user, access }: Identity,
): Promise<{ subscription: Subscription; retainHandling: 0 | 1 | 2; isNew: boolean }[]> {
  const names = { '%c': clientId, '%u': user }
  const wanted = services.rules().autoSubscriptions.flatMap((rule) => {
    const subscription = toSubscription({ ...rule, filter: filledIn(rule.topic, names) }, 0)
    const { filter } = subscription
    const may = isFilter(filter) && access?.maySubscribe(filter, rule.qos) !== false
    return may ? [{ subscription, retainHandling: rule.retainHandling }] : []
  })
  if (wanted.length === 0) return []
  const existed = await attached.subscribe(wanted.map(({ subscription }) => subscription))
  return wanted.map((each, index) => ({ ...each, isNew: existed[index] !== true }))
}

function assemble(
  session: MqttSession,
  options: {
    attached: AttachedSession
    packet: ConnectPacket
    identity: Identity
  },
): Connected {
  const { attached, packet, identity } = options
  const expirySeconds = session.expiryOf(expiryOf(packet))
  const { messaging, clock, nextToken, policy } = session.services
  const { transport, version } = session
  const onFailure = (error: unknown): void => session.failed(error)
  const outbound = new Outbound({
    outbox: transport.outbox,
    version,
    window: windowOf(packet),
    packetBytesMax: session.packetBytesMax,
    aliasesMax: Math.min(packet.properties.topicAliasMaximum ?? 0, OUTGOING_ALIASES_MAX),
    nowMs: () => clock.wallMs(),
    shared: session.services.shared,
    latencies: session.services.latencies.delivery,
    onFailure,
    limits: () => limitsOf(session),
    onOverflow: () =>
      session.close({
        reasonCode: ReasonCode.quotaExceeded,
        reason: 'too slow: too many messages wait for the client',
        publishWill: true,
      }),
  })
  outbound.attach(attached)
  const inbound = new Inbound({
    session: attached,
    messaging,
    outbox: transport.outbox,
    version,
    access: identity.access,
    policy,
    rewriter: identity.rewriter,
    explains: session.explains,
    packetBytesMax: session.packetBytesMax,
    nowMs: () => clock.wallMs(),
    clockMs: () => clock.nowMs(),
    latencies: session.services.latencies.publish,
    nextToken,
    pauseReading: (paused) => transport.setReading(!paused),
    rest: (ms) => transport.rest(ms),
    onFailure,
  })
  const rates = session.services.rates.enter(identity.user, transport.peer.entrance)
  const { user, access, rewriter, until } = identity
  return {
    connectedAtMs: clock.wallMs(),
    ...{ session: attached, inbound, outbound, rates },
    ...{ connect: packet, expirySeconds, user, access, rewriter, until },
  }
}

/** While the broker is short of memory little may wait for a client. */
function limitsOf({ services }: MqttSession): OutboundLimits {
  const policy = services.policy()
  return services.admission.isOutOfMemory
    ? { unsentBytesMax: PENDING_BYTES_USUAL, waitingBytesMax: policy.waitingBytesMax }
    : policy
}

/** Subscriptions of an earlier connection that are not allowed any more. */
async function forgetForbidden(
  attached: AttachedSession,
  access: Access | undefined,
): Promise<void> {
  if (access === undefined) return
  const forbidden = attached.filters().filter((filter) => !access.maySubscribe(filter))
  if (forbidden.length > 0) await attached.unsubscribe(forbidden)
}

/** Before MQTT 5 a session either ends with its connection or is kept. */
function expiryOf(packet: ConnectPacket): number {
  if (packet.version === 5) return packet.properties.sessionExpiryInterval ?? EXPIRES_AT_ONCE
  return packet.cleanStart ? EXPIRES_AT_ONCE : EXPIRES_NEVER
}

function windowOf(packet: ConnectPacket): number {
  if (packet.version < 5) return WINDOW_3X
  return Math.min(packet.properties.receiveMaximum ?? WINDOW_MAX, WINDOW_MAX)
}

/** [MQTT-3.2.2-21] */
function keepAliveOf({ services }: MqttSession, packet: ConnectPacket): number {
  const { keepAliveMaxSeconds: most } = services.policy()
  const asked = packet.keepAliveSeconds
  if (packet.version < 5 || most === null) return asked
  return asked === 0 || asked > most ? most : asked
}

function offered(
  session: MqttSession,
  { connect, expirySeconds, user }: Connected,
  keepAliveSeconds: number,
): Properties {
  const { properties, clientId } = connect
  const asked = properties.sessionExpiryInterval ?? EXPIRES_AT_ONCE
  const { responseInformation: template } = session.services.policy()
  const asksResponses = properties.requestResponseInformation === true
  const responses = asksResponses && template !== null
  const names = { '%c': session.clientId, '%u': user }
  return {
    receiveMaximum: RECEIVE_MAXIMUM,
    topicAliasMaximum: TOPIC_ALIAS_MAXIMUM,
    maximumPacketSize: session.transport.packetBytesMax,
    sharedSubscriptionAvailable: true,
    ...(expirySeconds !== asked && { sessionExpiryInterval: expirySeconds }),
    ...(keepAliveSeconds !== connect.keepAliveSeconds && { serverKeepAlive: keepAliveSeconds }),
    ...(clientId === '' && { assignedClientIdentifier: session.clientId }),
    ...(responses && { responseInformation: filledIn(template, names) }),
  }
}
