/** Every protocol that is spoken here, composed: one line each. */
import type { BrokerSettings } from './cluster/settings.ts'
import type { BrokerConfig } from './config.ts'
import { composeKafka, type KafkaParts } from './kafka.ts'
import { composeMqtt, type MqttParts } from './mqtt.ts'
import type { BrokerLog } from './observability/log.ts'
import type { ProtocolServer } from './protocols/shared/protocol-server.ts'
import { composeSqs, type SqsParts } from './sqs.ts'

type Parts = Omit<MqttParts & SqsParts & KafkaParts, 'log'> & {
  readonly config: BrokerConfig
  readonly settings: BrokerSettings
  readonly log: BrokerLog
}

export function composeDialects(parts: Parts): readonly ProtocolServer[] {
  const { settings, config } = parts
  const logOf = (protocol: string): BrokerLog => {
    const log = parts.log.child({ protocol })
    // A child has a level of its own from its beginning on.
    settings.follow('log.level', (level) => {
      log.level = level ?? config.logLevel
    })
    return log
  }
  return [
    composeMqtt({ ...parts, log: logOf('mqtt') }),
    composeSqs({ ...parts, log: logOf('sqs') }),
    composeKafka({ ...parts, log: logOf('kafka') }),
  ]
}
