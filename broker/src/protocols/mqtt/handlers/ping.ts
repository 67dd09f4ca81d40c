/** PINGREQ. [MQTT-3.12.4-1] */
import type { MqttSession } from '../session.ts'

export function handlePing(session: MqttSession): void {
  session.send({ kind: 'pingresp' })
}
