/** Who the client of a CONNECT is, and whether it may have what it brings with it. */
import type { Access } from '../../../security/access.ts'
import { isSystem } from '../mapping.ts'
import { type ConnectPacket, type Properties, ReasonCode } from '../packets.ts'
import { Rewriter } from '../rewrite.ts'
import type { MqttSession } from '../session.ts'
import { exchange } from './auth.ts'

export interface Identity {
  readonly user: string
  readonly access: Access | undefined
  /** Whose the session is; empty: nobody's in particular. */
  readonly owner: string
  /** Wall clock, ms: it must not stay for longer. */
  readonly until: number | undefined
  /** What the method of authentication has to say to the client. */
  readonly proof: Properties
  readonly rewriter: Rewriter
}

type Found = Omit<Identity, 'rewriter'>

/** Undefined: the client was refused. */
export async function authenticate(
  session: MqttSession,
  packet: ConnectPacket,
): Promise<Identity | undefined> {
  const { will, properties } = packet
  const method = properties.authenticationMethod
  const found =
    method === undefined
      ? await byPassword(session, packet)
      : await byExchange(session, method, properties.authenticationData)
  if (found === undefined) return undefined
  const names = { clientId: session.clientId, user: found.user }
  const rewriter = new Rewriter(() => session.services.rules().rewrites, names)
  const identity = { ...found, rewriter }
  if (will === undefined) return identity
  const address = rewriter.topic(will.topic)
  if (!isSystem(address) && found.access?.mayPublish(address, will) !== false) return identity
  refuseAccess(session, ReasonCode.notAuthorized, `it may not publish its will to ${address}`)
  return undefined
}

async function byPassword(
  session: MqttSession,
  { userName: username, password }: ConnectPacket,
): Promise<Found | undefined> {
  const { address, certificateName } = session.transport.peer
  const { clientId } = session
  const credentials = { clientId, username, password, certificateName, remoteAddress: address }
  const found = await session.services.security.authenticate(credentials)
  if (found.kind === 'in') {
    const { user, access, until, isUnproved } = found
    return { user, access, until, owner: isUnproved === true ? '' : user, proof: {} }
  }
  if (found.kind === 'unavailable') {
    refuseAccess(session, ReasonCode.serverUnavailable, 'who could know it does not answer')
    return undefined
  }
  const isBad = found.kind === 'bad-credentials'
  const reason = isBad ? 'bad user name or password' : 'a user name and password are needed'
  const { badUserNameOrPassword, notAuthorized } = ReasonCode
  refuseAccess(session, isBad ? badUserNameOrPassword : notAuthorized, reason)
  return undefined
}

async function byExchange(
  session: MqttSession,
  method: string,
  first: Buffer | undefined,
): Promise<Found | undefined> {
  const found = await exchange(session, method, first)
  if (found.kind === 'in') {
    const { user, access, properties } = found
    return { user, access, until: undefined, owner: user, proof: properties }
  }
  session.services.security.failures.add('bad-credentials')
  refuseAccess(session, ReasonCode.badUserNameOrPassword, found.reason)
  return undefined
}

function refuseAccess(session: MqttSession, reasonCode: number, reason: string): void {
  const { clientId: client, transport } = session
  session.services.log.warn(
    { errId: 'MQTT_NOT_AUTHORISED', client, remote: transport.remote, reason },
    'a client was not let in',
  )
  session.refuse(reasonCode, { reason })
}
