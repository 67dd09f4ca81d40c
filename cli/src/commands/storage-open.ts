/** Opens a storage for one command, and turns what it throws into an error with an exit code. */
import {
  openStorage,
  openStorageForReading,
  type StorageAdapter,
  StorageError,
  type StorageErrorCode,
} from '@robust/storage-adapters'
import type { Context } from '../context.ts'
import { CliError, type ErrorId } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'

const CONNECT_MS = 10_000

export interface Asked {
  readonly url: string
  readonly forReading: boolean
}

export async function withStorage(
  context: Context,
  { url, forReading }: Asked,
  use: (adapter: StorageAdapter) => Promise<number>,
): Promise<number> {
  const { output, signal } = context
  const logger = {
    info: () => undefined,
    warn: (_fields: object, message: string) => output.progress(message),
    error: (_fields: object, message: string) => output.progress(message),
  }
  const options = { logger, connectMs: CONNECT_MS, signal }
  try {
    if (forReading) {
      const { adapter, stop } = await openStorageForReading(url, options)
      return await use(adapter).finally(stop)
    }
    const adapter = await openStorage(url, options)
    return await use(adapter).finally(() => adapter.stop())
  } catch (error) {
    throw asStorageFailure(error)
  }
}

const failures: Readonly<Record<StorageErrorCode, readonly [ErrorId, number]>> = {
  INVALID: ['USAGE', exitCodes.usage],
  DATA_LOSS: ['DATA_LOSS', exitCodes.badData],
  UNAVAILABLE: ['UNREACHABLE', exitCodes.unreachable],
  FULL: ['CANNOT_WRITE', exitCodes.cannotCreate],
  FENCED: ['REFUSED', exitCodes.failed],
  NOT_OPEN: ['REFUSED', exitCodes.failed],
  GAP: ['REFUSED', exitCodes.failed],
  TOO_LARGE: ['REFUSED', exitCodes.failed],
}

export function asStorageFailure(error: unknown): unknown {
  if (!(error instanceof StorageError)) return error
  const [id, exit] = failures[error.code]
  return new CliError(id, { message: error.message, exit })
}
