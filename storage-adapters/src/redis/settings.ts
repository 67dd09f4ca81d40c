/**
 * What a Redis server is set to do, and what follows from it for stored data: the promise, and the reasons
 * against `durability=strict`. Pure but for the asking.
 */
import type { Redis } from 'ioredis'
import type { Capabilities } from '../capabilities.ts'
import { StorageError } from '../errors.ts'
import { commitBytesMax } from '../limits.ts'
import type { RedisTarget } from './redis-url.ts'

export interface ServerSettings {
  readonly address: string
  readonly version: string
  readonly runId: string
  readonly appendOnly: boolean
  /** `unknown`: the ACL user may not ask. */
  readonly appendFsync: string
  readonly evictionPolicy: string
  /** Bytes; 0: no limit of its own. */
  readonly memoryMax: number
  readonly memoryUsed: number
  /** Bytes that the machine has, the limit when Redis sets none. */
  readonly machineMemory: number
  readonly minReplicas: number
  readonly replicas: number
  readonly hasWaitAof: boolean
}

const asked = [
  'appendonly',
  'appendfsync',
  'maxmemory-policy',
  'maxmemory',
  'min-replicas-to-write',
]

/** Rejects with what ioredis says. */
export async function readSettings(server: Redis): Promise<ServerSettings> {
  const info = parseInfo(String(await server.info()))
  const config = await readConfig(server)
  const number = (text: string | undefined): number => Number(text ?? 0)
  const { host, port } = server.options
  return {
    address: `${host}:${port}`,
    version: info.get('redis_version') ?? '0',
    runId: info.get('run_id') ?? '',
    appendOnly: info.get('aof_enabled') === '1',
    appendFsync: config?.get('appendfsync') ?? 'unknown',
    evictionPolicy: info.get('maxmemory_policy') ?? 'unknown',
    memoryMax: number(info.get('maxmemory')),
    memoryUsed: number(info.get('used_memory')),
    machineMemory: number(info.get('total_system_memory')),
    minReplicas: number(config?.get('min-replicas-to-write')),
    replicas: number(info.get('connected_slaves')),
    hasWaitAof: await hasCommand(server, 'waitaof'),
  }
}

/** How much of its memory a server has in use, 0 to 1 and beyond. */
export async function readMemory(server: Redis): Promise<{ used: number; max: number }> {
  const info = parseInfo(String(await server.info('memory')))
  const own = Number(info.get('maxmemory') ?? 0)
  const max = own > 0 ? own : Number(info.get('total_system_memory') ?? 0)
  return { used: Number(info.get('used_memory') ?? 0), max }
}

async function readConfig(server: Redis): Promise<Map<string, string> | undefined> {
  try {
    const flat = (await server.config('GET', ...(asked as [string]))) as string[]
    const config = new Map<string, string>()
    for (let at = 0; at < flat.length; at += 2) config.set(flat[at] ?? '', flat[at + 1] ?? '')
    return config
  } catch (error) {
    if (error instanceof Error && /NOPERM|unknown command/i.test(error.message)) return undefined
    throw error
  }
}

async function hasCommand(server: Redis, name: string): Promise<boolean> {
  try {
    const [found] = (await server.command('INFO', name)) as unknown[]
    return found !== null && found !== undefined
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('NOPERM')) return false
    throw error
  }
}

function parseInfo(text: string): Map<string, string> {
  return new Map(
    text.split('\r\n').flatMap((line): [string, string][] => {
      const at = line.indexOf(':')
      return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1)]]
    }),
  )
}

/** Scripts need the flags that came with it. */
const versionMin = 7

/** Throws INVALID for a server that cannot do what is asked of it, or that `strict` does not take. */
export function checkSettings(servers: readonly ServerSettings[], target: RedisTarget): void {
  const old = servers.find(({ version }) => Number.parseInt(version, 10) < versionMin)
  if (old) {
    const what = `Redis ${old.version} at ${old.address} is too old: 7.0 or newer is needed`
    throw new StorageError('INVALID', what)
  }
  const without = target.waitAof && servers.find(({ hasWaitAof }) => !hasWaitAof)
  if (without) {
    const what = `wait-aof needs WAITAOF, which came with Redis 7.2; ${without.address} is ${without.version}`
    throw new StorageError('INVALID', what)
  }
  if (!target.strict) return
  const reasons = servers.flatMap((server) =>
    reasonsAgainst(server, target).map((reason) => `${server.address}: ${reason}`),
  )
  if (reasons.length === 0) return
  throw new StorageError('INVALID', `durability strict is not given: ${reasons.join('; ')}`)
}

/** What keeps a server from keeping every acknowledged commit over the loss of a machine. */
export function reasonsAgainst(server: ServerSettings, target: RedisTarget): string[] {
  const reasons: string[] = []
  const { appendOnly, appendFsync, evictionPolicy, minReplicas } = server
  if (!appendOnly) reasons.push('appendonly is no (set it to yes)')
  else if (appendFsync !== 'always' && !isSyncedByWait(target)) {
    reasons.push(`appendfsync is ${appendFsync} (set it to always, or use wait-aof=1,1)`)
  }
  if (evictionPolicy !== 'noeviction') {
    reasons.push(`maxmemory-policy ${evictionPolicy} deletes stored messages (set noeviction)`)
  }
  if (replicasAsked(target) === 0 && minReplicas === 0) {
    reasons.push('no replica guarantee (use wait=1, or set min-replicas-to-write 1)')
  }
  return reasons
}

/** What holds on all of the servers together; the weakest counts. */
export function promiseOf(
  servers: readonly ServerSettings[],
  target: RedisTarget,
): Omit<Capabilities, 'adapter' | 'commitBytesMax'> & { commitBytesMax: number } {
  const evicts = servers.some(({ evictionPolicy }) => evictionPolicy !== 'noeviction')
  const isKept = servers.every(({ appendOnly }) => appendOnly)
  const isSynced =
    isKept &&
    (isSyncedByWait(target) || servers.every(({ appendFsync }) => appendFsync === 'always'))
  const replicas = replicasAsked(target)
  return {
    survivesProcessCrash: isKept && !evicts,
    survivesOsCrash: isSynced && !evicts,
    survivesMachineLoss: replicas > 0 && isKept && !evicts,
    commitBytesMax,
    promise: [
      `redis ${servers[0]?.version ?? '?'} (${target.mode}): ${diskPromise(servers, target)}`,
      ...(evicts ? [evictionWarning(servers)] : []),
      replicaPromise(servers, target),
    ].join('; '),
  }
}

function diskPromise(servers: readonly ServerSettings[], target: RedisTarget): string {
  if (servers.some(({ appendOnly }) => !appendOnly)) {
    return 'appendonly no: a restart of the server loses everything since its last snapshot'
  }
  const fsync = servers.find(({ appendFsync }) => appendFsync !== 'always')?.appendFsync ?? 'always'
  if (fsync === 'always') {
    return 'appendfsync always: every commit is synced to the disk of the server; survives a crash of the process or the machine'
  }
  if (isSyncedByWait(target)) return `appendfsync ${fsync}, and WAITAOF: every commit is synced`
  const loses =
    fsync === 'everysec' ? 'loses the commits of up to the last 2 s' : 'may lose any recent commit'
  return `appendfsync ${fsync}: survives a crash of the process; a crash of the machine ${loses}`
}

function evictionWarning(servers: readonly ServerSettings[]): string {
  const policy = servers.find(({ evictionPolicy }) => evictionPolicy !== 'noeviction')
  return `maxmemory-policy ${policy?.evictionPolicy}: MAY DELETE STORED MESSAGES when memory is short`
}

function replicaPromise(servers: readonly ServerSettings[], target: RedisTarget): string {
  const asked = replicasAsked(target)
  if (asked > 0) {
    const replicas = asked === 1 ? '1 replica' : `${asked} replicas`
    return `each commit is confirmed by ${replicas}; a failover to one of them loses nothing that was acknowledged`
  }
  const min = Math.min(...servers.map(({ minReplicas }) => minReplicas))
  if (min > 0) {
    return `min-replicas-to-write ${min} bounds, and does not prevent, what a failover loses: the replica's lag`
  }
  const canFailOver = target.mode !== 'standalone' || servers.some(({ replicas }) => replicas > 0)
  return canFailOver
    ? 'no replica confirms a commit: a failover loses what the replica had not received, which is detected and reported'
    : 'no replica: the loss of the disk is the loss of the data'
}

function replicasAsked({ wait, waitAof }: RedisTarget): number {
  return Math.max(wait, waitAof?.replicas ?? 0)
}

function isSyncedByWait({ waitAof }: RedisTarget): boolean {
  return (waitAof?.local ?? 0) > 0
}
