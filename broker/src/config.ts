/** The broker's settings: flags, defaults, validation. Everything below receives plain values. */
import { parseArgs } from 'node:util'
import type { KafkaListenerName } from './protocols/kafka/server.ts'
import type { MqttListenerName } from './protocols/mqtt/listeners.ts'
import type { SqsListenerName } from './protocols/sqs/server.ts'
import type { TlsOptions } from './security/tls-certificates.ts'

export type ListenerName = MqttListenerName | SqsListenerName | KafkaListenerName

export interface HostPort {
  readonly host: string
  readonly port: number
}

export interface BrokerConfig {
  /** Stable across restarts; undefined: kept in, or made up into, the data folder. */
  readonly nodeId: string | undefined
  readonly dataDir: string | undefined
  /** `host:port` of Placement Center nodes. */
  readonly placement: readonly string[]
  readonly storageUrl: string
  readonly host: string
  /** The host that peers and clients are told; the listening host unless set. */
  readonly advertiseHost: string
  readonly mqttPort: number
  /** MQTT over TLS, WebSocket and secure WebSocket; undefined: not offered. */
  readonly mqttTlsPort: number | undefined
  readonly webSocketPort: number | undefined
  readonly webSocketTlsPort: number | undefined
  /** SQS over HTTP, and over HTTPS; undefined: not offered. */
  readonly sqsPort: number | undefined
  readonly sqsTlsPort: number | undefined
  /** Kafka, and over TLS; undefined: not offered. */
  readonly kafkaPort: number | undefined
  readonly kafkaTlsPort: number | undefined
  /** Where Kafka's clients are told that this broker is, by listener; undefined: as by `advertiseHost`. */
  readonly kafkaAdvertise: HostPort | undefined
  readonly kafkaTlsAdvertise: HostPort | undefined
  /** A Unix socket that takes MQTT too. */
  readonly mqttSocket: string | undefined
  readonly tls: TlsOptions | undefined
  /** Listeners behind a load balancer that sends PROXY headers. */
  readonly proxied: readonly ListenerName[]
  readonly grpcPort: number
  /** What others are told of it; undefined: the same. */
  readonly advertiseGrpcPort?: number
  /** Probes, metrics and administration; undefined: not offered. */
  readonly httpPort: number | undefined
  readonly packetBytesMax: number
  /** Seconds to reach the Placement Center and storage before giving up with exit code 69; 0 never. */
  readonly startupTimeoutSeconds: number
  readonly logLevel: string
}

export class ConfigError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ConfigError'
  }
}

export const BROKER_USAGE = `robust broker start --placement HOST:PORT[,HOST:PORT...] --storage URL [options]

  --placement LIST         Placement Center nodes; any of them finds the others
  --storage URL            robust://HOST:PORT, leveldb:PATH or memory:
  --node-id ID             default: kept in the data folder, made up the first time
  --data DIR               where the node id is kept
  --host HOST              interface to listen on (127.0.0.1)
  --advertise-host HOST    host told to peers and clients
  --mqtt-port PORT         MQTT, and WebSocket clients too (1883)
  --mqtt-tls-port PORT     MQTT over TLS; needs --tls-cert and --tls-key (off)
  --ws-port PORT           MQTT over WebSocket (off)
  --wss-port PORT          MQTT over WebSocket over TLS (off)
  --mqtt-socket PATH       MQTT on a Unix socket (off)
  --sqs-port PORT          Amazon SQS over HTTP (off)
  --sqs-tls-port PORT      over HTTPS; needs --tls-cert and --tls-key (off)
  --kafka-port PORT        Apache Kafka's protocol (off)
  --kafka-tls-port PORT    over TLS; needs --tls-cert and --tls-key (off)
  --kafka-advertise ADDR   HOST:PORT that Kafka's clients are told (advertised host, or what they dialled where
                           the broker listens on every interface; the listening port)
  --kafka-tls-advertise A  the same for TLS
  --tls-cert FILE          PEM certificate, with those of intermediates; read again when it changes
  --tls-key FILE           its key
  --tls-names DIR          NAME.crt and NAME.key for clients that ask for another host name (SNI)
  --tls-client-ca FILE     authorities of client certificates, which are then verified
  --tls-client-required    turn clients without a certificate away
  --proxy-protocol LIST    of mqtt, mqtts, ws, wss, sqs, sqss, kafka, kafkas: a load balancer sends PROXY headers (v1 or v2) there
  --grpc-port PORT         (9981)
  --advertise-grpc-port PORT  gRPC port told to peers (the same)
  --http-port PORT         probes, metrics and administration (off)
  --packet-bytes-max N     largest MQTT packet (8388608)
  --startup-timeout S      give up with exit code 69 after S seconds without Placement Center or storage (never)
  --log-level LEVEL        debug, info, warn or error (info)`

const PACKET_BYTES_MAX = 8 * 1024 * 1024

export function parseBrokerConfig(args: readonly string[]): BrokerConfig {
  const values = parseFlags(args)
  const placement = (values.placement ?? '').split(',').filter((address) => address !== '')
  if (placement.length === 0) throw new ConfigError('--placement names no Placement Center node')
  for (const address of placement) {
    if (!/^.+:\d+$/.test(address)) throw new ConfigError(`--placement ${address} is not HOST:PORT`)
  }
  if (values.storage === undefined) throw new ConfigError('--storage is missing')
  const host = values.host ?? '127.0.0.1'
  return {
    nodeId: values['node-id'],
    dataDir: values.data,
    placement,
    storageUrl: values.storage,
    host,
    advertiseHost: values['advertise-host'] ?? host,
    mqttPort: port(values['mqtt-port'], '--mqtt-port') ?? 1883,
    mqttTlsPort: port(values['mqtt-tls-port'], '--mqtt-tls-port'),
    webSocketPort: port(values['ws-port'], '--ws-port'),
    webSocketTlsPort: port(values['wss-port'], '--wss-port'),
    sqsPort: port(values['sqs-port'], '--sqs-port'),
    sqsTlsPort: port(values['sqs-tls-port'], '--sqs-tls-port'),
    kafkaPort: port(values['kafka-port'], '--kafka-port'),
    kafkaTlsPort: port(values['kafka-tls-port'], '--kafka-tls-port'),
    kafkaAdvertise: hostPort(values['kafka-advertise'], '--kafka-advertise'),
    kafkaTlsAdvertise: hostPort(values['kafka-tls-advertise'], '--kafka-tls-advertise'),
    mqttSocket: values['mqtt-socket'],
    tls: tlsOf(values),
    proxied: proxiedOf(values['proxy-protocol'] ?? ''),
    grpcPort: port(values['grpc-port'], '--grpc-port') ?? 9981,
    ...advertisedOf(values['advertise-grpc-port']),
    httpPort: port(values['http-port'], '--http-port'),
    packetBytesMax: integer(values['packet-bytes-max'], {
      name: '--packet-bytes-max',
      fallback: PACKET_BYTES_MAX,
      max: 64 * 1024 * 1024,
    }),
    startupTimeoutSeconds: integer(values['startup-timeout'], {
      name: '--startup-timeout',
      fallback: 0,
      max: 86_400,
    }),
    logLevel: values['log-level'] ?? 'info',
  }
}

function advertisedOf(text: string | undefined): Pick<BrokerConfig, 'advertiseGrpcPort'> {
  const advertiseGrpcPort = port(text, '--advertise-grpc-port')
  return advertiseGrpcPort === undefined ? {} : { advertiseGrpcPort }
}

const text = { type: 'string' } as const

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        placement: text,
        storage: text,
        'node-id': text,
        data: text,
        host: text,
        'advertise-host': text,
        'mqtt-port': text,
        'mqtt-tls-port': text,
        'ws-port': text,
        'wss-port': text,
        'sqs-port': text,
        'sqs-tls-port': text,
        'mqtt-socket': text,
        'kafka-port': text,
        'kafka-tls-port': text,
        'kafka-advertise': text,
        'kafka-tls-advertise': text,
        'tls-cert': text,
        'tls-key': text,
        'tls-names': text,
        'tls-client-ca': text,
        'tls-client-required': { type: 'boolean' },
        'proxy-protocol': text,
        'grpc-port': text,
        'advertise-grpc-port': text,
        'http-port': text,
        'packet-bytes-max': text,
        'startup-timeout': text,
        'log-level': text,
      },
    }).values
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error))
  }
}

type Flags = ReturnType<typeof parseFlags>

function tlsOf(values: Flags): TlsOptions | undefined {
  const certificate = values['tls-cert']
  const key = values['tls-key']
  if ((certificate === undefined) !== (key === undefined)) {
    throw new ConfigError('--tls-cert and --tls-key go together')
  }
  const ports = ['mqtt-tls-port', 'wss-port', 'sqs-tls-port', 'kafka-tls-port'] as const
  const asked = ports.find((name) => values[name] !== undefined)
  if (certificate === undefined || key === undefined) {
    if (asked !== undefined) throw new ConfigError('TLS needs --tls-cert and --tls-key')
    return undefined
  }
  const clientAuthorities = values['tls-client-ca']
  const requireClientCertificate = values['tls-client-required'] ?? false
  if (requireClientCertificate && clientAuthorities === undefined) {
    throw new ConfigError('--tls-client-required needs --tls-client-ca')
  }
  const namesDirectory = values['tls-names']
  return { certificate, key, clientAuthorities, requireClientCertificate, namesDirectory }
}

const LISTENERS: readonly ListenerName[] = [
  ...(['mqtt', 'mqtts', 'ws', 'wss', 'sqs', 'sqss', 'kafka', 'kafkas'] as const),
]

function proxiedOf(list: string): readonly ListenerName[] {
  return list
    .split(',')
    .filter((name) => name !== '')
    .map((name) => {
      const known = LISTENERS.find((listener) => listener === name)
      if (known === undefined) {
        throw new ConfigError(`--proxy-protocol ${name} is none of ${LISTENERS.join(', ')}`)
      }
      return known
    })
}

/** `HOST:PORT`; an IPv6 address is in brackets. */
function hostPort(value: string | undefined, name: string): HostPort | undefined {
  if (value === undefined) return undefined
  const [found, host = '', digits] = /^(?:\[([^\]]+)\]|[^:]+):(\d+)$/.exec(value) ?? []
  const chosen = port(digits, name)
  if (found === undefined || chosen === undefined || chosen === 0) {
    throw new ConfigError(`${name} ${value} is not HOST:PORT`)
  }
  return { host: host === '' ? value.slice(0, value.lastIndexOf(':')) : host, port: chosen }
}

function port(value: string | undefined, name: string): number | undefined {
  return value === undefined ? undefined : integer(value, { name, fallback: 0, max: 65_535 })
}

function integer(
  value: string | undefined,
  limits: { name: string; fallback: number; max: number },
): number {
  if (value === undefined) return limits.fallback
  const number = Number(value)
  if (!Number.isInteger(number) || number < 0 || number > limits.max) {
    throw new ConfigError(`${limits.name} ${value} is not a whole number up to ${limits.max}`)
  }
  return number
}
