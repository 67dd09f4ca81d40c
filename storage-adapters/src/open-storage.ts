/** From a storage URL to an adapter. One row per scheme. */
import { StorageError } from './errors.ts'
import { openLevelDbStorage } from './leveldb/leveldb-adapter.ts'
import type { Logger } from './logger.ts'
import { createMemoryStorage } from './memory/memory-adapter.ts'
import { connectRemoteStorage } from './remote/remote-adapter.ts'
import type { StorageAdapter } from './storage-adapter.ts'

export interface OpenStorageOptions {
  readonly logger: Logger
  /** Embedded adapters: called once when the engine has failed and the process should end. */
  readonly onFatal?: (error: StorageError) => void
  /** `leveldb:`: goes on after lost writes, under a new incarnation. */
  readonly acceptDataLoss?: boolean
  /** `robust:`: milliseconds until it gives up; default: it keeps trying. */
  readonly connectMs?: number
  /** `robust:`: milliseconds that a call waits for a connection. */
  readonly waitMs?: number
  /** `robust:`: ends the wait for the first connection. */
  readonly signal?: AbortSignal
}

type Open = (rest: string, options: OpenStorageOptions) => Promise<StorageAdapter>

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
}

/**
 * `memory:`, `leveldb:PATH` or `robust://HOST:PORT[,HOST:PORT]`. Rejects with INVALID for any other URL,
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
      `Unknown storage URL ${url}: known are memory:, leveldb:PATH and robust://HOST:PORT[,HOST:PORT]`,
    )
  }
  return open(url.slice(end), options)
}

function parseAddresses(rest: string): string[] {
  const addresses = rest.replace(/^\/\//, '').replace(/\/$/, '').split(',')
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
