/** The Placement Center as a process: flags in, signals and exit codes out. Logs are JSON lines on stdout. */
import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js'
import { pino } from 'pino'
import {
  LogDamagedError,
  LogFormatError,
  LogIdentityError,
  LogInUseError,
  SnapshotDamagedError,
} from 'raft-ts'
import { ConfigError, PLACEMENT_USAGE, parsePlacementConfig } from './config.ts'
import { ListenError } from './grpc/server.ts'
import { IdentityError } from './identity.ts'
import type { Logger } from './logger.ts'
import { createPlacement, type Placement } from './placement.ts'

const STOP_TIMEOUT_MS = 10_000

/**
 * Runs until SIGTERM or SIGINT. Exit codes: 0 stopped by a signal, 64 usage, 70 the log is damaged or cannot
 * be written, 73 the port or the data folder is in use, 78 the data folder is of another node.
 */
export async function placementMain(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) {
    process.stdout.write(`${PLACEMENT_USAGE}\n`)
    return
  }
  // What it would print is in our own errors, in one line each.
  setLogVerbosity(logVerbosity.NONE)
  let node = 'placement'
  let dataDir = ''
  let log: Logger | undefined
  try {
    const config = parsePlacementConfig(args)
    node = config.nodeId ?? node
    dataDir = config.dataDir
    const placement = createPlacement({
      config,
      log: (nodeId) => {
        node = nodeId
        log = createLog(nodeId, config.logLevel)
        return log
      },
      onFatal: (error) => fail(error, { node, dataDir }),
    })
    stopOnSignal(placement, (message) => log?.info({}, message))
    await placement.start()
  } catch (error) {
    fail(error, { node, dataDir })
  }
}

function createLog(node: string, level: string) {
  return pino({
    base: { node, pid: process.pid },
    level,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { error: pino.stdSerializers.err },
  })
}

function stopOnSignal(placement: Placement, tell: (message: string) => void): void {
  let isStopping = false
  const stop = (): void => {
    if (isStopping) return
    isStopping = true
    tell('stopping')
    // Everything that was answered is durable already: a stop that hangs must not keep the process.
    setTimeout(() => process.exit(70), STOP_TIMEOUT_MS).unref()
    void placement.stop().then(
      () => {
        tell('stopped')
        process.exit(0)
      },
      () => process.exit(70),
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

interface Where {
  readonly node: string
  readonly dataDir: string
}

function fail(error: unknown, { node, dataDir }: Where): never {
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof ConfigError) exit(64, 'USAGE', `${message}\n\n${PLACEMENT_USAGE}`)
  const isWrongFolder = error instanceof LogIdentityError || error instanceof LogFormatError
  if (error instanceof IdentityError || isWrongFolder) {
    exit(78, 'WRONG_DATA_FOLDER', `${node}: ${message}`)
  }
  if (error instanceof ListenError) {
    const id = error.isInUse ? 'PORT_IN_USE' : 'NOT_LISTENING'
    const cause = error.isInUse ? '' : `: ${String(error.cause)}`
    exit(73, id, `${node} cannot listen on ${error.address}${cause}`)
  }
  if (error instanceof LogInUseError)
    exit(73, 'DATA_IN_USE', `${node}: another process uses ${dataDir}`)
  if (error instanceof LogDamagedError || error instanceof SnapshotDamagedError) {
    exit(70, 'LOG_DAMAGED', `${node}: ${message}. ${whatToDo(dataDir)}`)
  }
  exit(70, 'PLACEMENT_FAILED', `${node}: ${message}`)
}

function whatToDo(dataDir: string): string {
  return (
    `This member stays down; the others go on while they are a majority. Check the disk and put ` +
    `${dataDir} back as it last was. Do not start this node with an empty folder while others run: ` +
    `it could vote twice in one term.`
  )
}

function exit(code: number, id: string, message: string): never {
  process.stderr.write(`error[${id}] ${message}\n`)
  process.exit(code)
}
