/**
 * Redis URLs: which servers, how to log in, and what this adapter shall ask of them.
 *
 *     redis://[USER[:PASSWORD]@]HOST[:PORT][/DB][?OPTIONS]
 *     redis+sentinel://[USER[:PASSWORD]@]HOST:PORT[,HOST:PORT]/MASTER[?OPTIONS]
 *     redis+cluster://[USER[:PASSWORD]@]HOST:PORT[,HOST:PORT][?OPTIONS]
 *
 * `rediss` in place of `redis` is TLS.
 */
import { StorageError } from '../errors.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

export interface RedisTarget {
  readonly mode: 'standalone' | 'sentinel' | 'cluster'
  readonly nodes: readonly HostPort[]
  /** Of a Sentinel: the name of the primary. */
  readonly masterName: string
  readonly database: number
  readonly username: string | undefined
  readonly password: string | undefined
  readonly passwordFile: string | undefined
  readonly sentinelUsername: string | undefined
  readonly sentinelPassword: string | undefined
  readonly tls: TlsFiles | undefined
  /** Before every key. */
  readonly prefix: string
  /** Replicas that must have a commit (WAIT); 0: none is asked. */
  readonly wait: number
  /** Disks that must have it (WAITAOF): own and replicas'; undefined: not asked. */
  readonly waitAof: { readonly local: number; readonly replicas: number } | undefined
  /** Milliseconds that WAIT and WAITAOF may take. */
  readonly waitMs: number
  /** Milliseconds without an answer until a call is UNAVAILABLE. */
  readonly timeoutMs: number
  readonly strict: boolean
  readonly acceptDataLoss: boolean
}

export interface TlsFiles {
  readonly ca: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly serverName: string | undefined
}

const modes = {
  redis: 'standalone',
  'redis+sentinel': 'sentinel',
  'redis+cluster': 'cluster',
} as const

const optionNames = new Set([
  ...['prefix', 'wait', 'wait-aof', 'wait-ms', 'timeout-ms', 'durability', 'accept-data-loss'],
  ...['password-file', 'sentinel-username', 'sentinel-password'],
  ...['tls-ca', 'tls-cert', 'tls-key', 'tls-server-name'],
])

/** Throws INVALID, saying what is wrong, never repeating a password. */
export function parseRedisUrl(url: string): RedisTarget {
  const parts = /^(rediss?)(\+sentinel|\+cluster)?:\/\/(?:([^@/?#]*)@)?([^/?#]*)(\/[^?#]*)?(\?.*)?$/
  const match = parts.exec(url)
  if (!match) throw invalid('it is not redis://HOST:PORT')
  const [, plain = '', form = '', login, hosts = '', path = '', query = ''] = match
  const mode = modes[`redis${form}` as keyof typeof modes]
  const options = parseOptions(query)
  const [username, password] = parseLogin(login)
  return {
    mode,
    nodes: parseHosts(hosts, mode === 'sentinel' ? 26_379 : 6379),
    ...parsePath(mode, path),
    username,
    password,
    passwordFile: options.get('password-file'),
    sentinelUsername: options.get('sentinel-username'),
    sentinelPassword: options.get('sentinel-password'),
    tls: parseTls(plain === 'rediss', options),
    prefix: parsePrefix(options.get('prefix') ?? 'robust'),
    wait: parseCount(options, 'wait', 0),
    waitAof: parseWaitAof(options.get('wait-aof')),
    waitMs: parseCount(options, 'wait-ms', 2000),
    timeoutMs: parseCount(options, 'timeout-ms', 10_000),
    strict: parseDurability(options.get('durability')),
    acceptDataLoss: parseFlag(options, 'accept-data-loss'),
  }
}

type UrlOptions = ReadonlyMap<string, string>

function parseOptions(query: string): UrlOptions {
  const options = new Map(new URLSearchParams(query))
  for (const name of options.keys()) {
    if (!optionNames.has(name)) {
      throw invalid(`there is no option ${name}; known are ${Array.from(optionNames).join(', ')}`)
    }
  }
  return options
}

function parseLogin(login: string | undefined): [string | undefined, string | undefined] {
  if (login === undefined || login === '') return [undefined, undefined]
  const at = login.indexOf(':')
  const decode = (text: string): string | undefined => {
    try {
      return decodeURIComponent(text) || undefined
    } catch {
      throw invalid('the user or the password is not percent-encoded text')
    }
  }
  if (at < 0) return [decode(login), undefined]
  return [decode(login.slice(0, at)), decode(login.slice(at + 1))]
}

function parseHosts(hosts: string, defaultPort: number): HostPort[] {
  return hosts.split(',').map((address) => {
    const [, bracketed, plain, digits] =
      /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+))(?::(\d{1,5}))?$/.exec(address) ?? []
    const host = bracketed ?? plain
    const port = digits === undefined ? defaultPort : Number(digits)
    if (host === undefined || port === 0 || port > 65_535) {
      throw invalid(`${address || 'nothing'} is no HOST:PORT`)
    }
    return { host, port }
  })
}

function parsePath(
  mode: RedisTarget['mode'],
  path: string,
): { masterName: string; database: number } {
  const [first = '', second = '', ...more] = path.replace(/^\//, '').split('/')
  if (more.length > 0) throw invalid(`the path ${path} has too many parts`)
  if (mode === 'sentinel') {
    if (first === '') throw invalid('the name of the primary is missing: .../MASTER')
    return { masterName: decodeURIComponent(first), database: databaseOf(second) }
  }
  if (second !== '') throw invalid(`the path ${path} has too many parts`)
  if (mode === 'cluster' && first !== '' && first !== '0') {
    throw invalid('a Redis Cluster has no databases')
  }
  return { masterName: '', database: databaseOf(first) }
}

function databaseOf(text: string): number {
  if (text === '') return 0
  if (!/^\d{1,5}$/.test(text)) throw invalid(`${text} is no database number`)
  return Number(text)
}

function parseTls(isTls: boolean, options: UrlOptions): TlsFiles | undefined {
  const files = {
    ca: options.get('tls-ca'),
    cert: options.get('tls-cert'),
    key: options.get('tls-key'),
    serverName: options.get('tls-server-name'),
  }
  if (isTls) return files
  if (Object.values(files).some((value) => value !== undefined)) {
    throw invalid('tls-* options need rediss://')
  }
  return undefined
}

/** Braces would move the hash tag; a colon would put one prefix inside another. */
function parsePrefix(prefix: string): string {
  if (/^[\w./-]{1,100}$/.test(prefix)) return prefix
  throw invalid('prefix has letters, digits and _ . / - only, 100 at most')
}

function parseCount(options: UrlOptions, name: string, otherwise: number): number {
  const text = options.get(name)
  if (text === undefined) return otherwise
  if (!/^\d{1,7}$/.test(text)) throw invalid(`${name}=${text} is no number`)
  return Number(text)
}

function parseWaitAof(text: string | undefined): RedisTarget['waitAof'] {
  if (text === undefined) return undefined
  const [, local, replicas] = /^([01]),(\d{1,3})$/.exec(text) ?? []
  if (local === undefined) throw invalid('wait-aof is LOCAL,REPLICAS, for example 1,1')
  return { local: Number(local), replicas: Number(replicas) }
}

function parseDurability(text: string | undefined): boolean {
  if (text === undefined || text === 'as-configured') return false
  if (text === 'strict') return true
  throw invalid(`durability=${text} is not strict or as-configured`)
}

function parseFlag(options: UrlOptions, name: string): boolean {
  const text = options.get(name)
  if (text === undefined || text === 'false') return false
  if (text === 'true' || text === '') return true
  throw invalid(`${name}=${text} is not true or false`)
}

function invalid(why: string): StorageError {
  return new StorageError('INVALID', `The Redis URL: ${why}`)
}
