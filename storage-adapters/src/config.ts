/** Settings of a storage node, from its command line. The only place with their defaults. */
import { parseArgs } from 'node:util'

export interface StorageNodeConfig {
  readonly host: string
  readonly port: number
  /** Probes and metrics, on the same host; undefined: not offered. */
  readonly httpPort?: number
  readonly url: string
  readonly acceptDataLoss: boolean
  readonly strict: boolean
}

export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export const usage =
  'storage --url leveldb:PATH|memory:|redis://HOST:PORT [--listen HOST:PORT] [--http-port PORT] [--durability strict] [--accept-data-loss]'

/** Throws UsageError, saying which flag is wrong. */
export function parseStorageConfig(args: readonly string[]): StorageNodeConfig {
  const flags = parseFlags(args)
  if (flags.url === undefined) throw new UsageError('--url is missing')
  if (flags.url.startsWith('robust:')) {
    throw new UsageError('--url: a storage node serves its own data, not that of another node')
  }
  return {
    ...parseListen(flags.listen),
    ...(flags['http-port'] !== undefined && { httpPort: parsePort(flags['http-port']) }),
    url: flags.url,
    acceptDataLoss: flags['accept-data-loss'],
    strict: parseDurability(flags.durability),
  }
}

function parseFlags(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: Array.from(args),
      options: {
        listen: { type: 'string', default: '127.0.0.1:1778' },
        'http-port': { type: 'string' },
        url: { type: 'string' },
        'accept-data-loss': { type: 'boolean', default: false },
        durability: { type: 'string', default: 'as-configured' },
      },
    })
    return values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function parseDurability(level: string): boolean {
  if (level === 'strict' || level === 'as-configured') return level === 'strict'
  throw new UsageError(`--durability: ${level} is not strict or as-configured`)
}

function parsePort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text)
  throw new UsageError(`--http-port: ${text} is no port`)
}

function parseListen(listen: string): { host: string; port: number } {
  const [, bracketed, plain, digits] =
    listen.match(/^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/) ?? []
  const host = bracketed ?? plain
  const port = Number(digits)
  if (host === undefined || port > 65_535) {
    throw new UsageError(`--listen: ${listen} is no HOST:PORT`)
  }
  return { host, port }
}
