import { startStorageNode, parseStorageConfig } from '@robust/storage-adapters'
import { pino } from 'pino'
void startStorageNode(parseStorageConfig(process.argv.slice(2)), { logger: pino(), onFatal: console.error })
