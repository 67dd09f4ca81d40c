/** MQTT, composed: what its server is given, from the flags and the settings. */
import type { MetadataCache } from './cluster/metadata-cache.ts'
import type { BrokerSettings, Settings } from './cluster/settings.ts'
import { systemClock } from './cluster/system-clock.ts'
import type { BrokerConfig } from './config.ts'
import type { HostedShards } from './core/hosted-shard.ts'
import type { Messaging } from './core/messaging.ts'
import type { Resources } from './core/ports/resources.ts'
import type { RetainedLimits } from './core/retained-shard.ts'
import type { AutoSubscription, MqttPolicy, MqttRules } from './protocols/mqtt/policy.ts'
import type { RewriteRule } from './protocols/mqtt/rewrite.ts'
import { type MqttEntrances, MqttServer, type SystemGauges } from './protocols/mqtt/server.ts'
import type { AdmissionPort } from './protocols/shared/admission.ts'
import type { ProtocolLog } from './protocols/shared/protocol-server.ts'
import { type RateLimit, type RateLimits, Rates } from './protocols/shared/rates.ts'
import { sharedHeadersOf } from './queues.ts'
import type { Authenticator } from './security/authenticator.ts'
import { Bans } from './security/bans.ts'

export const VERSION = '0.1.0'

export interface MqttParts {
  readonly config: BrokerConfig
  readonly metadata: MetadataCache
  readonly settings: BrokerSettings
  readonly admission: AdmissionPort
  readonly security: Authenticator
  readonly losses: { readonly sessionsExpired: number }
  readonly bridges: { statuses(): readonly { readonly name: string; readonly state: string }[] }
  readonly messaging: Messaging
  readonly hosted: HostedShards
  readonly nodeId: string
  readonly log: ProtocolLog
}

export function composeMqtt(parts: MqttParts): MqttServer {
  const { config, metadata, settings, admission, security, messaging, log, nodeId } = parts
  return new MqttServer({
    entrances: entrancesOf(config),
    security,
    packetBytesMax: () => settings.get('limits.packet-bytes') ?? config.packetBytesMax,
    policy: settings.live(policyOf),
    rates: new Rates(systemClock, settings.live(rateLimitsOf)),
    bans: new Bans(metadata.resources, () => systemClock.wallMs()),
    rules: liveRules(metadata.resources),
    node: nodeId,
    version: VERSION,
    gauges: () => gaugesOf(parts),
    admission,
    messaging,
    shared: sharedHeadersOf,
    clock: systemClock,
    log,
  })
}

function gaugesOf({ hosted, messaging, losses, bridges }: MqttParts): SystemGauges {
  let queued = 0
  let offline = 0
  let retained = 0
  let retainedRefused = 0
  for (const shard of hosted.all()) {
    offline += shard.sessions.offline
    for (const { inbox } of shard.sessions.durable()) queued += inbox.depth
    retained += shard.retained.size
    retainedRefused += shard.retained.refused
  }
  const { subscriptions } = messaging.counts
  return {
    offline,
    retained,
    retainedRefused,
    subscriptions,
    stored: queued + retained,
    expired: losses.sessionsExpired,
    bridges: bridges
      .statuses()
      .map(({ name, state }) => ({ name, isConnected: state === 'connected' })),
    heapBytes: process.memoryUsage().heapUsed,
  }
}

/** What is kept of the rules; read again when one of them changes. */
export function liveRules(resources: Resources): () => MqttRules {
  let known: MqttRules | undefined
  for (const kind of ['auto-subscription', 'topic-rewrite']) {
    resources.observe(kind, () => {
      known = undefined
    })
  }
  return () => {
    known ??= {
      autoSubscriptions: valuesOf<AutoSubscription>(resources, 'auto-subscription').map(completed),
      rewrites: valuesOf<RewriteRule>(resources, 'topic-rewrite'),
    }
    return known
  }
}

function completed(rule: AutoSubscription): AutoSubscription {
  const usual = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
  return { ...usual, ...rule }
}

/** In the order of their names; what they may be was checked before they were kept. */
function valuesOf<T>(resources: Resources, kind: string): T[] {
  const found = [...resources.list(kind)].sort((a, b) => (a.name < b.name ? -1 : 1))
  return found.map(({ value }) => JSON.parse(value) as T)
}

/** The shards have an equal part of what all may keep. */
export function retainedLimitsOf(settings: Settings, shardCount: number): RetainedLimits {
  const most = settings.get('mqtt.retained-messages-max')
  return {
    messagesMax: most === null ? undefined : Math.ceil(most / Math.max(1, shardCount)),
    expirySeconds: settings.get('mqtt.retained-expiry-seconds') ?? undefined,
  }
}

export function rateLimitsOf(settings: Settings): RateLimits {
  const of = (who: 'client' | 'user' | 'listener'): RateLimit => ({
    messages: settings.get(`limits.${who}-messages-per-second`),
    bytes: settings.get(`limits.${who}-bytes-per-second`),
  })
  const limits = { client: of('client'), user: of('user'), listener: of('listener') }
  const isOpen = Object.values(limits).every(
    ({ messages, bytes }) => messages === null && bytes === null,
  )
  return { ...limits, isOpen }
}

export function policyOf(settings: Settings): MqttPolicy {
  return {
    keepAliveMaxSeconds: settings.get('mqtt.keep-alive-max-seconds'),
    sessionExpiryMaxSeconds: settings.get('mqtt.session-expiry-max-seconds'),
    responseInformation: settings.get('mqtt.response-information'),
    retainedBytesMax: settings.get('mqtt.retained-bytes-max'),
    hasExclusive: settings.get('mqtt.exclusive-subscriptions'),
    tellsEvents: settings.get('mqtt.client-events'),
    systemSeconds: settings.get('mqtt.sys-interval-seconds'),
    slowAfterMs: settings.get('mqtt.slow-after-ms'),
    flapping: {
      connectsMax: settings.get('mqtt.flapping-connects-max'),
      windowMs: settings.get('mqtt.flapping-window-seconds') * 1_000,
      banMs: settings.get('mqtt.flapping-ban-seconds') * 1_000,
    },
    keepsOwner: settings.get('security.client-id-owner') === 'same-user',
    disconnectsExcess: settings.get('limits.excess') === 'disconnect',
    unsentBytesMax: settings.get('limits.client-unsent-bytes'),
    waitingBytesMax: settings.get('limits.client-waiting-bytes'),
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
