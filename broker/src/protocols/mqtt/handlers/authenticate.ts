/** Who the client of a CONNECT is, and whether it may have what it brings with it. */
import type { Access } from '../../../security/access.ts'
import { type ConnectPacket, ReasonCode } from '../packets.ts'
import type { MqttSession } from '../session.ts'

export interface Identity {
  readonly user: string
  readonly access: Access | undefined
}

/** Undefined: the client was refused. */
export async function authenticate(
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
  session.refuse(reasonCode, { reason })
}
