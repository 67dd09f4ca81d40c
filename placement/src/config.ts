/** The Placement Center's settings: flags, defaults, validation. Everything below receives plain values. */
import { parseArgs } from 'node:util'
import { GENERATION_MAX } from './metadata/revision.ts'

export interface PlacementMemberAddress {
  readonly id: string
  /** `host:port` */
  readonly address: string
}

export interface PlacementConfig {
  /** Undefined: the one that the data folder is kept for, else `placement-1`. */
  readonly nodeId: string | undefined
  /** Undefined: the one that the data folder is kept for, else `robust`. */
  readonly clusterId: string | undefined
  readonly host: string
  /** 0 takes a free one, for a cluster of one. */
  readonly port: number
  /** Probes and metrics, on the same host; undefined: not offered, 0: a free one. */
  readonly httpPort?: number
  /** All members, this one included; empty: a cluster of one. */
  readonly members: readonly PlacementMemberAddress[]
  /** `host:port` of nodes of a cluster that this one is to join. Without effect once it has a log. */
  readonly join?: readonly string[]
  /** `host:port` at which others reach it, where `members` do not say; else where it listens. */
  readonly advertise?: string
  /** A new cluster of this one node begins with what is in it. */
  readonly restore?: RestoreConfig
  readonly dataDir: string
  /** Of a cluster that does not exist yet. */
  readonly shardCount: number
  readonly preset: PlacementPreset
  readonly logLevel: string
}

export interface RestoreConfig {
  /** Of `robust placement snapshot --out`. */
  readonly file: string
  /** Above that of every cluster that was ever restored from this one's backups. Undefined: the next. */
  readonly generation: number | undefined
}

export interface PlacementPreset {
  readonly heartbeatMs: number
  readonly leaseTtlMs: number
}

export const PLACEMENT_PRESETS = {
  dev: { heartbeatMs: 500, leaseTtlMs: 3_000 },
  production: { heartbeatMs: 2_000, leaseTtlMs: 8_000 },
} as const satisfies Record<string, PlacementPreset>

export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

export const PLACEMENT_USAGE = `robust placement start --data DIR [options]

  --data DIR               where the log and its snapshots are kept
  --node-id ID             default: kept in the data folder, placement-1 the first time
  --listen HOST:PORT       (127.0.0.1:1228)
  --http-port PORT         /livez, /readyz and /metrics, on the same host (off)
  --peers LIST             ID=HOST:PORT[,ID=HOST:PORT...], all members with this one (a cluster of one)
  --join LIST              HOST:PORT[,...] of a cluster to join, instead of --peers; the node waits there
                           until "robust placement add ID=HOST:PORT" makes it a member
  --advertise HOST:PORT    where the others reach this node that joins (what --listen says)
  --restore FILE           begin a new cluster of this node with a backup (robust placement snapshot --out);
                           the data folder must be empty
  --restore-generation N   above the one of every earlier restore (1 more than the backup has)
  --cluster-id ID          default: kept in the data folder, robust the first time
  --shards N               shards of a new cluster, never changed later (64)
  --preset NAME            dev (heartbeat 500 ms, time-out 3 s) or production (2 s, 8 s) (dev)
  --log-level LEVEL        debug, info, warn or error (info)`

const SHARDS_MAX = 16_384
const ADDRESS = /^(.+):(\d{1,5})$/

/** @throws ConfigError */
export function parsePlacementConfig(args: readonly string[]): PlacementConfig {
  const values = parseFlags(args)
  if (values.data === undefined) throw new ConfigError('--data is missing')
  const { host, port } = parseAddress('--listen', values.listen ?? '127.0.0.1:1228')
  const join = parseJoin(values.join ?? '')
  if (join.length > 0 && values.peers !== undefined) {
    throw new ConfigError('--join and --peers exclude each other: who joins learns of the others')
  }
  const restore = parseRestore(values)
  if (restore !== undefined && (values.peers !== undefined || join.length > 0)) {
    throw new ConfigError('--restore begins with this node alone: others are added afterwards')
  }
  if (values.advertise !== undefined) parseAddress('--advertise', values.advertise)
  return {
    nodeId: name('--node-id', values['node-id']),
    clusterId: name('--cluster-id', values['cluster-id']),
    host,
    port,
    members: parsePeers(values.peers ?? ''),
    ...(join.length > 0 && { join }),
    ...(restore !== undefined && { restore }),
    ...(values['http-port'] !== undefined && { httpPort: parsePort(values['http-port']) }),
    ...(values.advertise !== undefined && { advertise: values.advertise }),
    dataDir: values.data,
    shardCount: parseShards(values.shards ?? '64'),
    preset: parsePreset(values.preset ?? 'dev'),
    logLevel: parseLevel(values['log-level'] ?? 'info'),
  }
}

const text = { type: 'string' } as const

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        data: text,
        'node-id': text,
        listen: text,
        'http-port': text,
        peers: text,
        join: text,
        advertise: text,
        restore: text,
        'restore-generation': text,
        'cluster-id': text,
        shards: text,
        preset: text,
        'log-level': text,
      },
    }).values
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function name(flag: string, value: string | undefined): string | undefined {
  if (value === undefined || /^[A-Za-z0-9._-]{1,255}$/.test(value)) return value
  throw new ConfigError(`${flag} ${value} may have letters, digits, dot, dash and underscore only`)
}

function parsePort(value: string): number {
  if (/^\d{1,5}$/.test(value) && Number(value) <= 65_535) return Number(value)
  throw new ConfigError(`--http-port ${value} is no port`)
}

function parseAddress(flag: string, value: string): { host: string; port: number } {
  const [, host = '', port = ''] = ADDRESS.exec(value) ?? []
  if (host === '' || Number(port) > 65_535) {
    throw new ConfigError(`${flag} ${value} is not HOST:PORT`)
  }
  return { host, port: Number(port) }
}

function parseRestore(values: ReturnType<typeof parseFlags>): RestoreConfig | undefined {
  const { restore: file, 'restore-generation': asked } = values
  if (file === undefined) {
    if (asked !== undefined) throw new ConfigError('--restore-generation needs --restore')
    return undefined
  }
  const generation = asked === undefined ? undefined : Number(asked)
  const isValid = Number.isInteger(generation) && Number(generation) >= 1
  if (asked !== undefined && (!isValid || Number(generation) > GENERATION_MAX)) {
    const range = `a whole number from 1 to ${GENERATION_MAX}`
    throw new ConfigError(`--restore-generation ${asked} is not ${range}`)
  }
  return { file, generation }
}

function parseJoin(list: string): readonly string[] {
  const addresses = list.split(',').filter((address) => address !== '')
  for (const address of addresses) parseAddress('--join', address)
  return addresses
}

function parsePeers(list: string): readonly PlacementMemberAddress[] {
  const members = list
    .split(',')
    .filter((item) => item !== '')
    .map((item) => {
      const [id = '', address = '', ...rest] = item.split('=')
      if (id === '' || address === '' || rest.length > 0) {
        throw new ConfigError(`--peers ${item} is not ID=HOST:PORT`)
      }
      parseAddress('--peers', address)
      return { id, address }
    })
  if (new Set(members.map(({ id }) => id)).size !== members.length) {
    throw new ConfigError('--peers names a node twice')
  }
  return members
}

function parseShards(value: string): number {
  const shards = Number(value)
  if (Number.isInteger(shards) && shards >= 1 && shards <= SHARDS_MAX) return shards
  throw new ConfigError(`--shards ${value} is not a whole number from 1 to ${SHARDS_MAX}`)
}

function parsePreset(value: string): PlacementPreset {
  if (value === 'dev' || value === 'production') return PLACEMENT_PRESETS[value]
  throw new ConfigError(`--preset ${value} is neither dev nor production`)
}

function parseLevel(value: string): string {
  if (['debug', 'info', 'warn', 'error'].includes(value)) return value
  throw new ConfigError(`--log-level ${value} is not debug, info, warn or error`)
}
