/** The broker as a process: flags in, signals and exit codes out. */
import { StorageError } from '@robust/storage-adapters'
import { type Broker, startBroker } from './broker.ts'
import { BROKER_USAGE, ConfigError, parseBrokerConfig } from './config.ts'
import { IdentityError } from './node-identity.ts'
import { createLog } from './observability/log.ts'
import { ListenError } from './protocols/shared/listener.ts'

const STOP_TIMEOUT_MS = 15_000

/** Runs until SIGTERM or SIGINT. Exits 0 after a clean drain, 64/78 for bad flags, 69, 70 and 73 as `ux` says. */
export async function brokerMain(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) {
    process.stdout.write(`${BROKER_USAGE}\n`)
    return
  }
  let broker: Broker | undefined
  try {
    const config = parseBrokerConfig(args)
    const giveUp = startupLimit(config.startupTimeoutSeconds)
    const starting = startBroker({
      config,
      log: (node) => createLog(node, config.logLevel),
      onFatal: (error) => {
        process.stderr.write(`error[STORAGE_FAILED] ${error.message}\n`)
        process.exit(70)
      },
    })
    stopOnSignal(() => broker)
    broker = await starting
    clearTimeout(giveUp)
  } catch (error) {
    fail(error)
    return
  }
  const log = createLog(broker.nodeId, 'info')
  log.info({ endpoints: broker.endpoints, storage: broker.storagePromise }, 'ready')
}

function startupLimit(seconds: number): NodeJS.Timeout | undefined {
  if (seconds === 0) return undefined
  return setTimeout(() => {
    const what = 'the Placement Center or storage did not answer'
    process.stderr.write(`error[UNREACHABLE] ${what} within ${seconds} s\n`)
    process.exit(69)
  }, seconds * 1000)
}

function stopOnSignal(current: () => Broker | undefined): void {
  let stopping = false
  const stop = (): void => {
    if (stopping) return
    stopping = true
    // A drain that hangs must not keep the process: what it holds moves by time-out then.
    setTimeout(() => process.exit(70), STOP_TIMEOUT_MS).unref()
    void (current()?.stop() ?? Promise.resolve()).then(
      () => process.exit(0),
      () => process.exit(70),
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

function fail(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof ConfigError) {
    process.stderr.write(`error[USAGE] ${message}\n\n${BROKER_USAGE}\n`)
    process.exit(64)
  }
  if (error instanceof IdentityError) {
    process.stderr.write(`error[WRONG_DATA_FOLDER] ${message}\n`)
    process.exit(78)
  }
  if (error instanceof StorageError && error.code === 'INVALID') {
    process.stderr.write(`error[USAGE] --storage: ${message}\n\n${BROKER_USAGE}\n`)
    process.exit(64)
  }
  const inUse = error instanceof ListenError && error.code === 'EADDRINUSE'
  if (inUse || message.includes('EADDRINUSE')) {
    process.stderr.write(`error[PORT_IN_USE] ${message}\n`)
    process.exit(73)
  }
  process.stderr.write(`error[START_FAILED] ${message}\n`)
  process.exit(70)
}
