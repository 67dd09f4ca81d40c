/** The broker's settings: flags, defaults, validation. Everything below receives plain values. */
import { parseArgs } from 'node:util'

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
  readonly grpcPort: number
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
  --mqtt-port PORT         (1883)
  --grpc-port PORT         (9981)
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
    mqttPort: integer(values['mqtt-port'], { name: '--mqtt-port', fallback: 1883, max: 65_535 }),
    grpcPort: integer(values['grpc-port'], { name: '--grpc-port', fallback: 9981, max: 65_535 }),
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
        'grpc-port': text,
        'packet-bytes-max': text,
        'startup-timeout': text,
        'log-level': text,
      },
    }).values
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error))
  }
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
