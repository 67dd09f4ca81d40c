/** CONNECT: checks what the codec cannot, attaches the session wherever its shard is, answers. */
import { EXPIRES_AT_ONCE, EXPIRES_NEVER } from '../../../core/sessions/session.ts'
import type { Access } from '../../../security/access.ts'
import { reasonOf, refusalReason } from '../errors.ts'
import { Inbound } from '../inbound.ts'
import {
  CLIENT_ID_BYTES_MAX,
  RECEIVE_MAXIMUM,
  TOPIC_ALIAS_MAXIMUM,
  WINDOW_3X,
  WINDOW_MAX,
} from '../limits.ts'
import { toWill } from '../mapping.ts'
import { Outbound } from '../outbound.ts'
import { type ConnectPacket, type Properties, ReasonCode } from '../packets.ts'
import type { Connected, MqttSession } from '../session.ts'

export function handleConnect(session: MqttSession, packet: ConnectPacket): void {
  session.version = packet.version
  const refusal = refusalOf(packet)
  if (refusal !== undefined) {
    session.refuse(refusal)
    return
  }
  if (!admit(session, packet)) return
  const clientId = packet.clientId === '' ? session.services.nextClientId() : packet.clientId
  session.beginConnecting(packet, clientId)
  void connect(session, packet, clientId)
}

function admit(session: MqttSession, packet: ConnectPacket): boolean {
  const { admission, log } = session.services
  const refusal = admission.admit('mqtt')
  if (refusal === undefined) return true
  const { reason, server } = refusal
  log.warn(
    { errId: 'MQTT_CONNECTION_REFUSED', client: packet.clientId, reason },
    'a client was not let in',
  )
  session.refuse(refusalReason(refusal), server)
  return false
}

function refusalOf(packet: ConnectPacket): number | undefined {
  // Before MQTT 5 a client without a name has nothing to come back to. [MQTT-3.1.3-8]
  if (
    packet.clientId === '' &&
    packet.version < 5 &&
    (!packet.cleanStart || packet.version === 3)
  ) {
    return ReasonCode.clientIdentifierNotValid
  }
  if (Buffer.byteLength(packet.clientId) > CLIENT_ID_BYTES_MAX) {
    return ReasonCode.clientIdentifierNotValid
  }
  // No authentication method is offered. [MQTT-4.12.0-1]
  if (packet.properties.authenticationMethod !== undefined)
    return ReasonCode.badAuthenticationMethod
  return undefined
}

interface Identity {
  readonly user: string
  readonly access: Access | undefined
}

/** Undefined: the client was refused. */
async function authenticate(
  session: MqttSession,
  packet: ConnectPacket,
  clientId: string,
): Promise<Identity | undefined> {
  const { address, certificateName } = session.transport.peer
  const { userName: username, password, will } = packet
  const credentials = { clientId, username, password, certificateName, remoteAddress: address }
  const found = await session.services.security.authenticate(credentials)
  if (found.kind === 'in') {
    if (will === undefined || found.access?.mayPublish(will.topic) !== false) return found
    refuseAccess(session, ReasonCode.notAuthorized, `it may not publish its will to ${will.topic}`)
    return undefined
  }
  const isBad = found.kind === 'bad-credentials'
  const reason = isBad ? 'bad user name or password' : 'a user name and password are needed'
  const { badUserNameOrPassword, notAuthorized } = ReasonCode
  refuseAccess(session, isBad ? badUserNameOrPassword : notAuthorized, reason)
  return undefined
}

function refuseAccess(session: MqttSession, reasonCode: number, reason: string): void {
  const { clientId: client, transport } = session
  session.services.log.warn(
    { errId: 'MQTT_NOT_AUTHORISED', client, remote: transport.remote, reason },
    'a client was not let in',
  )
  session.refuse(reasonCode)
}

async function connect(
  session: MqttSession,
  packet: ConnectPacket,
  clientId: string,
): Promise<void> {
  const { messaging, clock } = session.services
  const expirySeconds = expiryOf(packet)
  const window = windowOf(packet)
  try {
    const identity = await authenticate(session, packet, clientId)
    if (identity === undefined || session.state !== 'connecting') return
    const attached = await messaging.attach(
      {
        session: clientId,
        cleanStart: packet.cleanStart,
        expirySeconds,
        window,
        will: toWill(packet.will, clientId, clock.wallMs()),
      },
      session,
    )
    await forgetForbidden(attached, identity.access)
    const connected = assemble(session, { attached, packet, window, expirySeconds, identity })
    if (!session.finishConnecting(connected)) {
      await attached.detach({ publishWill: true, expirySeconds: undefined })
      return
    }
    session.transport.setKeepAlive(packet.keepAliveSeconds)
    session.send({
      kind: 'connack',
      sessionPresent: attached.present,
      reasonCode: ReasonCode.success,
      properties: packet.version === 5 ? offered(session, packet, clientId) : {},
    })
    attached.start()
    session.transport.setReading(true)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    session.services.log.warn(
      { errId: 'MQTT_CONNECT_FAILED', client: clientId, reason },
      'a client could not be connected',
    )
    session.refuse(reasonOf(error))
  }
}

function assemble(
  session: MqttSession,
  options: {
    attached: Connected['session']
    packet: ConnectPacket
    window: number
    expirySeconds: number
    identity: Identity
  },
): Connected {
  const { attached, packet, window, expirySeconds, identity } = options
  const { messaging, clock, nextToken } = session.services
  const { transport, version } = session
  const onFailure = (error: unknown): void => session.failed(error)
  const outbound = new Outbound({
    outbox: transport.outbox,
    version,
    window,
    packetBytesMax: packet.properties.maximumPacketSize ?? Number.MAX_SAFE_INTEGER,
    nowMs: () => clock.wallMs(),
    onFailure,
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
    nowMs: () => clock.wallMs(),
    nextToken,
    pauseReading: (paused) => transport.setReading(!paused),
    rest: (ms) => transport.rest(ms),
    onFailure,
  })
  return { session: attached, inbound, outbound, connect: packet, expirySeconds, ...identity }
}

/** Subscriptions of an earlier connection that are not allowed any more. */
async function forgetForbidden(
  attached: Connected['session'],
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

function offered(session: MqttSession, packet: ConnectPacket, clientId: string): Properties {
  return {
    receiveMaximum: RECEIVE_MAXIMUM,
    topicAliasMaximum: TOPIC_ALIAS_MAXIMUM,
    maximumPacketSize: session.transport.packetBytesMax,
    sharedSubscriptionAvailable: false,
    ...(packet.clientId === '' ? { assignedClientIdentifier: clientId } : {}),
  }
}
