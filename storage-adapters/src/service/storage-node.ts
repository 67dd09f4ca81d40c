/** A storage node: an adapter and the service over it, started and stopped together. */
import type { StorageNodeConfig } from '../config.ts'
import type { StorageError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { openStorage } from '../open-storage.ts'
import { withoutPasswords } from '../storage-url.ts'
import { createStorageService } from './storage-service.ts'

export interface StorageNode {
  readonly host: string
  readonly port: number
  /** Answers what has been asked, then closes the data. Idempotent. */
  stop(): Promise<void>
}

export interface StorageNodeOptions {
  readonly logger: Logger
  /** Called once when the engine has failed: end the process, a new start recovers. */
  readonly onFatal: (error: StorageError) => void
}

/** Rejects with a StorageError of the adapter, or the system's error when it cannot listen. */
export async function startStorageNode(
  config: StorageNodeConfig,
  options: StorageNodeOptions,
): Promise<StorageNode> {
  const { logger, onFatal } = options
  const { host, port, url, acceptDataLoss, strict } = config
  const adapter = await openStorage(url, { logger, onFatal, acceptDataLoss, strict })
  const service = createStorageService({ adapter, host, port, logger })
  try {
    await service.start()
  } catch (error) {
    await adapter.stop()
    throw error
  }
  const { promise } = adapter.capabilities
  logger.info(
    { host, port: service.port, url: withoutPasswords(url), promise },
    'storage node ready',
  )
  return {
    host,
    get port() {
      return service.port
    },
    async stop() {
      await service.stop()
      await adapter.stop()
    },
  }
}
