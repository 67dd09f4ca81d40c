/**
 * The process of the `storage` role. Logs are JSON lines on stdout; an error that ends it is one line on
 * stderr. Exit codes: 0 drained after a signal, 64 usage, 65 stored data is damaged, 70 the storage
 * failed, 73 the port or the directory is in use.
 */
import { pathToFileURL } from 'node:url'
import { pino } from 'pino'
import { parseStorageConfig, UsageError, usage } from './config.ts'
import { StorageError } from './errors.ts'
import { startStorageNode } from './service/storage-node.ts'

const logger = pino({
  base: { node: 'storage', pid: process.pid },
  timestamp: pino.stdTimeFunctions.isoTime,
})

function fail(exit: number, id: string, message: string): never {
  process.stderr.write(`error[${id}] ${message}\n`)
  process.exit(exit)
}

function describeFailure(error: unknown, address: string): never {
  if (error instanceof UsageError) fail(64, 'USAGE', `${error.message}; usage: ${usage}`)
  if (error instanceof StorageError && error.code === 'INVALID') fail(64, 'USAGE', error.message)
  if (error instanceof StorageError && error.code === 'DATA_LOSS') {
    fail(65, 'DATA_LOSS', error.message)
  }
  if (error instanceof StorageError) fail(73, 'STORAGE_NOT_OPENED', error.message)
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') {
    fail(73, 'PORT_IN_USE', `storage cannot listen on ${address}: the port is in use`)
  }
  const reason = error instanceof Error ? error.message : String(error)
  fail(
    code === undefined ? 70 : 73,
    'NOT_STARTED',
    `storage did not start on ${address}: ${reason}`,
  )
}

/** Runs until SIGTERM or SIGINT; resolves when the node serves. */
export async function storageMain(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) {
    process.stdout.write(`${usage.replace('storage', 'robust storage start')}\n`)
    return
  }
  let address = ''
  try {
    const config = parseStorageConfig(args)
    address = `${config.host}:${config.port}`
    const node = await startStorageNode(config, {
      logger,
      onFatal: (error) => {
        logger.fatal({ err: error }, 'storage failed')
        fail(70, 'STORAGE_FAILED', error.message)
      },
    })
    const stop = async (signal: NodeJS.Signals) => {
      logger.info({ signal }, 'storage node stops')
      await node.stop()
      logger.info({}, 'storage node stopped')
      process.exit(0)
    }
    process.once('SIGTERM', (signal) => void stop(signal))
    process.once('SIGINT', (signal) => void stop(signal))
  } catch (error) {
    describeFailure(error, address)
  }
}

const isProgram = import.meta.url === pathToFileURL(process.argv[1] ?? '').href
if (isProgram) await storageMain(process.argv.slice(2))
