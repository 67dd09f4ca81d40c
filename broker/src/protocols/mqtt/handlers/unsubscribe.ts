/** UNSUBSCRIBE. [MQTT-3.10.4-4] */
import { reasonOf } from '../errors.ts'
import { ReasonCode, type UnsubscribePacket } from '../packets.ts'
import type { Connected, MqttSession } from '../session.ts'
import { filterOf } from './subscribe.ts'

export function handleUnsubscribe(session: MqttSession, packet: UnsubscribePacket): void {
  const { connected } = session
  if (connected !== undefined) void unsubscribe(session, connected, packet)
}

async function unsubscribe(
  session: MqttSession,
  connected: Connected,
  packet: UnsubscribePacket,
): Promise<void> {
  const { packetId, filters } = packet
  let reasonCodes: number[]
  try {
    const meant = filters.map((filter) => filterOf(connected, filter))
    const existed = await connected.session.unsubscribe(meant.map(({ filter }) => filter))
    const { messaging } = session.services
    for (const { filter, isExclusive } of meant) {
      if (isExclusive) await messaging.unclaim(filter, session.clientId)
    }
    reasonCodes = existed.map((known) =>
      known ? ReasonCode.success : ReasonCode.noSubscriptionExisted,
    )
  } catch (error) {
    // Before MQTT 5 an UNSUBACK cannot say no.
    if (session.version < 5) {
      session.failed(error)
      return
    }
    reasonCodes = filters.map(() => reasonOf(error))
  }
  session.send({ kind: 'unsuback', packetId, reasonCodes, properties: {} })
}
