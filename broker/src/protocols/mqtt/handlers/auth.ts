/** AUTH: no authentication method is offered, so it never is in place. [MQTT5 4.12] */
import { violation } from '../codec/mqtt-error.ts'

export function handleAuth(): void {
  throw violation('[MQTT-4.12.0-1]', 'no enhanced authentication was begun')
}
