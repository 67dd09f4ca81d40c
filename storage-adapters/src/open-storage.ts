/** From a storage URL to an adapter. One row per scheme. */
import { StorageError } from './errors.ts'
import { openLevelDbStorage } from './leveldb/leveldb-adapter.ts'
import type { Logger } from './logger.ts'
import { createMemoryStorage } from './memory/memory-adapter.ts'
import { openRedisStorage } from './redis/redis-adapter.ts'
import { parseRedisUrl } from './redis/redis-url.ts'
import { connectRemoteStorage } from './remote/remote-adapter.ts'
import type { StorageAdapter } from './storage-adapter.ts'
import { redisSchemes, withoutPasswords } from './storage-url.ts'

export interface OpenStorageOptions {
  readonly logger: Logger
  /** Embedded adapters: called once when the engine has failed and the process should end. */
  readonly onFatal?: (error: StorageError) => void
  /** `leveldb:` and `redis:`: goes on after lost writes, under a new incarnation. */
  readonly acceptDataLoss?: boolean
  /**
   * Rejects with INVALID what does not survive a crash of its machine; `redis:` asks for more, see the
   * README.
   */
  readonly strict?: boolean
  /** `robust:` and `redis:`: milliseconds until it gives up; default: it keeps trying. */
  readonly connectMs?: number
  /** `robust:`: milliseconds that a call waits for a connection. */
  readonly waitMs?: number
  /** `robust:` and `redis:`: ends the wait for the first connection. */
  readonly signal?: AbortSignal
}

type Open = (rest: string, options: OpenStorageOptions) => Promise<StorageAdapter>

async function openRedis(
  url: string,
  { logger, connectMs, signal, acceptDataLoss, strict }: OpenStorageOptions,
): Promise<StorageAdapter> {
  const target = parseRedisUrl(url)
  const asked = {
    strict: target.strict || strict === true,
    acceptDataLoss: target.acceptDataLoss || acceptDataLoss === true,
  }
  const limits = { ...(connectMs !== undefined && { connectMs }), ...(signal && { signal }) }
  return openRedisStorage({ ...target, ...asked }, { logger, ...limits })
}

const schemes: Readonly<Record<string, Open>> = {
  'memory:': async (rest) => {
    if (rest !== '') throw new StorageError('INVALID', `memory: takes nothing, not ${rest}`)
    return createMemoryStorage()
  },
  'leveldb:': async (path, { onFatal, acceptDataLoss = false }) => {
    if (path === '') throw new StorageError('INVALID', 'leveldb: needs a path: leveldb:PATH')
    return openLevelDbStorage(path, { acceptDataLoss, ...(onFatal && { onFatal }) })
  },
  'robust:': async (rest, { logger, connectMs, waitMs, signal }) =>
    connectRemoteStorage({
      addresses: parseAddresses(rest),
      logger,
      ...(connectMs !== undefined && { connectMs }),
      ...(waitMs !== undefined && { waitMs }),
      ...(signal && { signal }),
    }),
  ...Object.fromEntries(
    redisSchemes.map((scheme): [string, Open] => [
      scheme,
      (rest, options) => openRedis(scheme + rest, options),
    ]),
  ),
}

/**
 * `memory:`, `leveldb:PATH`, `redis://HOST:PORT` in its forms, or `robust://HOST:PORT[,HOST:PORT]`. Rejects with INVALID for any other URL,
 * and with what the adapter says when it cannot be opened.
 */
export async function openStorage(
  url: string,
  options: OpenStorageOptions,
): Promise<StorageAdapter> {
  const end = url.indexOf(':') + 1
  const scheme = url.slice(0, end)
  const open = Object.hasOwn(schemes, scheme) ? schemes[scheme] : undefined
  if (!open) {
    throw new StorageError(
      'INVALID',
      `Unknown storage URL ${withoutPasswords(url)}: known are ${knownUrls}`,
    )
  }
  const strict = options.strict === true || isStrict(url)
  const adapter = await open(url.slice(end), { ...options, strict })
  if (!strict || adapter.capabilities.survivesOsCrash) return adapter
  const { promise } = adapter.capabilities
  await adapter.stop()
  throw new StorageError('INVALID', `durability strict is not given: ${promise}`)
}

const knownUrls =
  'memory:, leveldb:PATH, redis://HOST:PORT (rediss, +sentinel, +cluster) and robust://HOST:PORT[,HOST:PORT]'

/** `robust:` takes no other option than this one. */
function isStrict(url: string): boolean {
  return /^robust:[^?]*\?durability=strict$/.test(url)
}

function parseAddresses(rest: string): string[] {
  const [hosts = ''] = rest.split('?durability=strict')
  const addresses = hosts.replace(/^\/\//, '').replace(/\/$/, '').split(',')
  for (const address of addresses) {
    const [, port] = address.match(/^(?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):(\d{1,5})$/) ?? []
    if (port === undefined || Number(port) > 65_535 || Number(port) === 0) {
      throw new StorageError(
        'INVALID',
        `${address} is no HOST:PORT (robust://HOST:PORT[,HOST:PORT])`,
      )
    }
  }
  return addresses
}
