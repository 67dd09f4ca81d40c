/** DISCONNECT: the client leaves; its will is forgotten unless it says otherwise. [MQTT-3.14.4-3] */
import { violation } from '../codec/mqtt-error.ts'
import { type DisconnectPacket, ReasonCode } from '../packets.ts'
import type { MqttSession } from '../session.ts'

export function handleDisconnect(session: MqttSession, packet: DisconnectPacket): void {
  const expiry = packet.properties.sessionExpiryInterval
  const asked = session.connected?.connect.properties.sessionExpiryInterval
  if (expiry !== undefined && expiry !== 0 && (asked ?? 0) === 0) {
    throw violation('[MQTT 5.0 section 3.14.2.2.2]', 'a session that ends now cannot be extended')
  }
  session.close({
    reasonCode: ReasonCode.success,
    reason: 'the client disconnected',
    publishWill: packet.reasonCode !== ReasonCode.normalDisconnection,
    silent: true,
    ...(expiry === undefined ? {} : { expirySeconds: session.expiryOf(expiry) }),
  })
}
