/** MQTT, composed: what its server is given, from the flags and the settings. */
import type { MetadataCache } from './cluster/metadata-cache.ts'
import type { BrokerSettings, Settings } from './cluster/settings.ts'
import { systemClock } from './cluster/system-clock.ts'
import type { BrokerConfig } from './config.ts'
import type { Messaging } from './core/messaging.ts'
import type { MqttPolicy } from './protocols/mqtt/policy.ts'
import { type MqttEntrances, MqttServer } from './protocols/mqtt/server.ts'
import type { AdmissionPort } from './protocols/shared/admission.ts'
import type { ProtocolLog } from './protocols/shared/protocol-server.ts'
import { type Anonymous, Authenticator } from './security/authenticator.ts'

export interface MqttParts {
  readonly config: BrokerConfig
  readonly metadata: MetadataCache
  readonly settings: BrokerSettings
  readonly admission: AdmissionPort
  readonly messaging: Messaging
  readonly log: ProtocolLog
}

export function composeMqtt(parts: MqttParts): MqttServer {
  const { config, metadata, settings, admission, messaging, log } = parts
  return new MqttServer({
    entrances: entrancesOf(config),
    security: new Authenticator({
      resources: metadata.resources,
      anonymous: () => settings.get('security.anonymous') as Anonymous,
    }),
    packetBytesMax: () => settings.get('limits.packet-bytes') ?? config.packetBytesMax,
    policy: settings.live(policyOf),
    admission,
    messaging,
    clock: systemClock,
    log,
  })
}

export function policyOf(settings: Settings): MqttPolicy {
  return {
    keepAliveMaxSeconds: settings.get('mqtt.keep-alive-max-seconds'),
    sessionExpiryMaxSeconds: settings.get('mqtt.session-expiry-max-seconds'),
    responseInformation: settings.get('mqtt.response-information'),
    checksPayloadFormat: settings.get('mqtt.payload-format-check'),
  }
}

export function mqttPorts(config: BrokerConfig): MqttEntrances['ports'] {
  const { mqttPort, mqttTlsPort, webSocketPort, webSocketTlsPort } = config
  return { mqtt: mqttPort, mqtts: mqttTlsPort, ws: webSocketPort, wss: webSocketTlsPort }
}

function entrancesOf(config: BrokerConfig): MqttEntrances {
  const { host, tls, proxied, mqttSocket: unixSocket } = config
  return { host, ports: mqttPorts(config), unixSocket, tls, proxied }
}
