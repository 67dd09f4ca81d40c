/** What a client may send besides PUBLISH and acknowledgements, and who handles it. */
import type { Packet } from '../packets.ts'
import type { MqttSession } from '../session.ts'
import { handleAuth } from './auth.ts'
import { handleConnect } from './connect.ts'
import { handleDisconnect } from './disconnect.ts'
import { handlePing } from './ping.ts'
import { handleSubscribe } from './subscribe.ts'
import { handleUnsubscribe } from './unsubscribe.ts'

type Handler<K extends Packet['kind']> = (
  session: MqttSession,
  packet: Extract<Packet, { kind: K }>,
) => void

/** A kind that is not here comes from servers only, or does not arrive as a whole packet. */
export const handlers: { readonly [K in Packet['kind']]?: Handler<K> } = {
  connect: handleConnect,
  subscribe: handleSubscribe,
  unsubscribe: handleUnsubscribe,
  pingreq: handlePing,
  disconnect: handleDisconnect,
  auth: handleAuth,
}
