/** `robust server start`: its flags, and the settings of the three roles that come from them. */
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { BrokerConfig } from '@robust/broker'
import type { PlacementConfig, PlacementPreset } from '@robust/placement'
import type { PortUse } from '../cluster/ports.ts'
import { isShared, standardPorts } from '../cluster/topology.ts'
import { usageError } from '../errors.ts'

export interface ServerConfig {
  readonly dataDir: string
  readonly storageUrl: string
  readonly strict: boolean
  readonly host: string
  readonly advertiseHost: string
  /** The broker's HTTP speaks for the process: its other parts have none. */
  readonly ports: Readonly<
    Record<Exclude<keyof typeof standardPorts, 'placementHttp' | 'storageHttp' | 'network'>, number>
  >
  /** PEM files for MQTT, SQS and Kafka over TLS and secure WebSocket; undefined: not offered. */
  readonly tls: { readonly certificate: string; readonly key: string } | undefined
  readonly logLevel: string
}

export const SERVER_USAGE = `robust server start [options]

One process with all roles: Placement Center, storage and broker.

  --data DIR             where everything is kept (.robust/server)
  --storage URL          leveldb:PATH, memory:, redis://HOST:PORT or robust://HOST:PORT (leveldb in the
                         data folder)
  --durability LEVEL     strict: refuse storage that could lose what it acknowledged (as-configured)
  --host HOST            interface to listen on (127.0.0.1)
  --advertise-host HOST  host told to peers and clients
  --mqtt-port PORT       (1883)
  --tls-cert FILE        PEM certificate: MQTT, SQS and Kafka over TLS, and secure WebSocket too
  --tls-key FILE         its key
  --port-offset K        added to every standard port (0)
  --log-level LEVEL      debug, info, warn or error (warn)`

const PORT_MAX = 65_535
const PACKET_BYTES_MAX = 8 * 1024 * 1024
const SHARDS = 64

/** Throws USAGE, saying which flag is wrong. */
export function parseServerConfig(args: readonly string[]): ServerConfig {
  const flags = parseFlags(args)
  const offset = integer('--port-offset', flags['port-offset'] ?? '0')
  const shifted = (port: number): number => inRange('--port-offset', port + offset)
  const dataDir = resolve(flags.data ?? join('.robust', 'server'))
  const host = flags.host ?? '127.0.0.1'
  return {
    dataDir,
    storageUrl: flags.storage ?? `leveldb:${join(dataDir, 'storage')}`,
    strict: parseDurability(flags.durability ?? 'as-configured'),
    host,
    advertiseHost: flags['advertise-host'] ?? host,
    ports: {
      mqtt:
        flags['mqtt-port'] === undefined
          ? shifted(standardPorts.mqtt)
          : inRange('--mqtt-port', integer('--mqtt-port', flags['mqtt-port'])),
      ws: shifted(standardPorts.ws),
      mqtts: shifted(standardPorts.mqtts),
      wss: shifted(standardPorts.wss),
      sqs: shifted(standardPorts.sqs),
      sqss: shifted(standardPorts.sqss),
      kafka: shifted(standardPorts.kafka),
      kafkas: shifted(standardPorts.kafkas),
      http: shifted(standardPorts.http),
      brokerGrpc: shifted(standardPorts.brokerGrpc),
      placement: shifted(standardPorts.placement),
      storage: shifted(standardPorts.storage),
    },
    tls: tlsOf(flags['tls-cert'], flags['tls-key']),
    logLevel: parseLevel(flags['log-level'] ?? 'warn'),
  }
}

/** Whether storage is opened in this process, and so served to brokers that join. */
export function isStorageEmbedded({ storageUrl }: ServerConfig): boolean {
  return !isShared(storageUrl)
}

export function serverPorts(config: ServerConfig): readonly PortUse[] {
  const { host, ports } = config
  const uses = [
    { node: 'the broker', protocol: 'mqtt', host, port: ports.mqtt },
    { node: 'the broker', protocol: 'ws', host, port: ports.ws },
    ...(config.tls === undefined
      ? []
      : [
          { node: 'the broker', protocol: 'mqtts', host, port: ports.mqtts },
          { node: 'the broker', protocol: 'wss', host, port: ports.wss },
          { node: 'the broker', protocol: 'sqss', host, port: ports.sqss },
          { node: 'the broker', protocol: 'kafkas', host, port: ports.kafkas },
        ]),
    { node: 'the broker', protocol: 'sqs', host, port: ports.sqs },
    { node: 'the broker', protocol: 'kafka', host, port: ports.kafka },
    { node: 'the broker', protocol: 'http', host, port: ports.http },
    { node: 'the broker', protocol: 'grpc', host, port: ports.brokerGrpc },
    { node: 'the Placement Center', protocol: 'grpc', host, port: ports.placement },
    { node: 'storage', protocol: 'grpc', host, port: ports.storage },
  ]
  return isStorageEmbedded(config) ? uses : uses.slice(0, -1)
}

export function placementConfig(config: ServerConfig, preset: PlacementPreset): PlacementConfig {
  return {
    nodeId: 'placement-1',
    clusterId: undefined,
    host: config.host,
    port: config.ports.placement,
    members: [],
    dataDir: join(config.dataDir, 'placement'),
    shardCount: SHARDS,
    preset,
    logLevel: config.logLevel,
  }
}

export function brokerConfig(config: ServerConfig): BrokerConfig {
  const { host, advertiseHost, ports } = config
  return {
    nodeId: 'broker-1',
    dataDir: join(config.dataDir, 'broker'),
    placement: [`${loopbackOf(host)}:${ports.placement}`],
    storageUrl: config.storageUrl,
    host,
    advertiseHost,
    mqttPort: ports.mqtt,
    webSocketPort: ports.ws,
    mqttTlsPort: config.tls && ports.mqtts,
    webSocketTlsPort: config.tls && ports.wss,
    sqsPort: ports.sqs,
    sqsTlsPort: config.tls && ports.sqss,
    kafkaPort: ports.kafka,
    kafkaTlsPort: config.tls && ports.kafkas,
    ...{ kafkaAdvertise: undefined, kafkaTlsAdvertise: undefined },
    tls: config.tls && {
      ...config.tls,
      clientAuthorities: undefined,
      requireClientCertificate: false,
      namesDirectory: undefined,
    },
    mqttSocket: undefined,
    proxied: [],
    grpcPort: ports.brokerGrpc,
    httpPort: ports.http,
    packetBytesMax: PACKET_BYTES_MAX,
    startupTimeoutSeconds: 0,
    logLevel: config.logLevel,
  }
}

/** An address that reaches a listener of this process. */
function loopbackOf(host: string): string {
  return host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
}

const text = { type: 'string' } as const

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        data: text,
        storage: text,
        durability: text,
        host: text,
        'advertise-host': text,
        'mqtt-port': text,
        'tls-cert': text,
        'tls-key': text,
        'port-offset': text,
        'log-level': text,
      },
    }).values
  } catch (error) {
    throw usageError(
      error instanceof Error ? error.message : String(error),
      'robust server start --help',
    )
  }
}

function tlsOf(certificate: string | undefined, key: string | undefined): ServerConfig['tls'] {
  if (certificate !== undefined && key !== undefined) return { certificate, key }
  if (certificate === undefined && key === undefined) return undefined
  throw usageError('--tls-cert and --tls-key go together', 'robust server start --help')
}

function integer(flag: string, value: string): number {
  if (/^\d{1,5}$/.test(value)) return Number(value)
  throw usageError(`${flag} ${value} is not a whole number up to ${PORT_MAX}`)
}

function inRange(flag: string, port: number): number {
  if (port > 0 && port <= PORT_MAX) return port
  throw usageError(`${flag} makes port ${port}: no such port`)
}

function parseDurability(level: string): boolean {
  if (level === 'strict' || level === 'as-configured') return level === 'strict'
  throw usageError(`--durability ${level} is not strict or as-configured`)
}

function parseLevel(level: string): string {
  if (['debug', 'info', 'warn', 'error'].includes(level)) return level
  throw usageError(`--log-level ${level} is not debug, info, warn or error`)
}
