/** AUTH: an exchange goes on, or a connected client begins one again. [MQTT5 4.12] */
import type { AuthenticationExchange } from '../../../security/enhanced.ts'
import { violation } from '../codec/mqtt-error.ts'
import { type AuthPacket, type Properties, ReasonCode } from '../packets.ts'
import type { MqttSession } from '../session.ts'

export function handleAuth(session: MqttSession, packet: AuthPacket): void {
  const method = session.authenticationMethod
  if (method === undefined) {
    throw violation('[MQTT-4.12.0-7]', 'no enhanced authentication was begun')
  }
  if (packet.properties.authenticationMethod !== method) {
    throw violation('[MQTT-4.12.0-5]', 'another authentication method than in CONNECT')
  }
  const { reasonCode, properties } = packet
  if (reasonCode === ReasonCode.continueAuthentication && session.isChallenged) {
    session.answered(properties.authenticationData)
    return
  }
  const isAgain = reasonCode === ReasonCode.reAuthenticate
  if (!isAgain || session.connected === undefined || session.isChallenged) {
    throw violation('[MQTT-3.15.2-1]', 'an AUTH that nobody asked for')
  }
  void authenticateAgain(session, method, properties.authenticationData)
}

export type Exchanged =
  | (Extract<Awaited<ReturnType<AuthenticationExchange['next']>>, { kind: 'in' }> & {
      /** For the packet that tells of the success. */
      readonly properties: Properties
    })
  | { readonly kind: 'refused'; readonly reason: string }

/** The whole exchange. Never settles when the client leaves in the middle. */
export async function exchange(
  session: MqttSession,
  name: string,
  first: Buffer | undefined,
): Promise<Exchanged> {
  const method = session.services.security.method(name)
  if (method === undefined) return { kind: 'refused', reason: 'the method is not known any more' }
  const { address } = session.transport.peer
  const conversation = method.begin({ clientId: session.clientId, address })
  let step = await conversation.next(first)
  while (step.kind === 'continue') {
    const properties = { authenticationMethod: name, authenticationData: step.data }
    step = await conversation.next(await session.challenge(properties))
  }
  if (step.kind === 'refused') return step
  const { data } = step
  const properties = {
    authenticationMethod: name,
    ...(data !== undefined && { authenticationData: data }),
  }
  return { ...step, properties }
}

async function authenticateAgain(
  session: MqttSession,
  method: string,
  first: Buffer | undefined,
): Promise<void> {
  try {
    const found = await exchange(session, method, first)
    const { connected } = session
    if (connected === undefined) return
    if (found.kind === 'in' && found.user === connected.user) {
      const { properties } = found
      session.send({ kind: 'auth', reasonCode: ReasonCode.success, properties })
      return
    }
    // [MQTT-4.12.1-2]
    session.revoke(found.kind === 'in' ? 'another user than before' : found.reason)
  } catch (error) {
    session.failed(error)
  }
}
