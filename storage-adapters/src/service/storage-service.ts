/**
 * Serves any adapter to other processes: links for the storage port, and gRPC with health and reflection, on
 * one port. Fencing makes it safe for several clients at once; the adapter stays its owner's to stop.
 */
import { randomUUID } from 'node:crypto'
import { Server } from '@grpc/grpc-js'
import {
  type Link,
  type LinkService,
  listenOnSharedPort,
  type SharedPort,
  serveHealthAndReflection,
  storage,
} from '@robust/proto'
import type { Logger } from '../logger.ts'
import type { StorageAdapter } from '../storage-adapter.ts'
import { frameBytesMax, protocolVersion, serviceName } from '../wire/channel.ts'
import { ClientSession } from './client-session.ts'

export interface StorageServiceOptions {
  readonly adapter: StorageAdapter
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly logger: Logger
}

export interface StorageService {
  /** Bound port, once started. */
  readonly port: number
  /** Rejects with the system's error, `code` EADDRINUSE when the port is taken. */
  start(): Promise<void>
  /** Answers what has been asked, then closes. Idempotent. */
  stop(): Promise<void>
}

/** How long clients get to take their last answers. */
const drainMs = 5000
/** And then to end their links. */
const closeMs = 1000

export function createStorageService(options: StorageServiceOptions): StorageService {
  const { logger, host } = options
  const server = new Server()
  const clients = new Clients(options)
  let port: SharedPort | undefined
  let setStatus: ((status: 'SERVING' | 'NOT_SERVING') => void) | undefined
  let stopping: Promise<void> | undefined

  async function drainAndClose(): Promise<void> {
    setStatus?.('NOT_SERVING')
    await clients.drain()
    await port?.close(closeMs)
    server.forceShutdown()
  }

  return {
    get port() {
      return port?.port ?? options.port
    },
    async start() {
      setStatus = serveHealthAndReflection(server, [])
      port = await listenOnSharedPort({
        host,
        port: options.port,
        grpc: server,
        services: [clients.service],
        onRefused: ({ from, reason }) => logger.warn({ from, reason }, 'client refused'),
      })
      setStatus('SERVING')
    },
    stop() {
      stopping ??= drainAndClose()
      return stopping
    },
  }
}

class Clients {
  readonly #options: StorageServiceOptions
  readonly #sessions = new Set<ClientSession>()
  readonly #incarnation = randomUUID()
  #isStopping = false

  constructor(options: StorageServiceOptions) {
    this.#options = options
  }

  get service(): LinkService {
    return {
      name: serviceName,
      protocolVersion,
      frameBytesMax,
      greet: () => (this.#isStopping ? 'this storage node stops' : this.#identity()),
      opened: (link) => this.#opened(link),
    }
  }

  async drain(): Promise<void> {
    this.#isStopping = true
    const drained = Promise.all(Array.from(this.#sessions, (session) => session.drain()))
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, drainMs)
    })
    await Promise.race([drained, late])
    clearTimeout(timer)
  }

  #identity() {
    const { capabilities } = this.#options.adapter
    const detail = storage.Hello.encode({ capabilities }).finish()
    return { clusterId: '', senderId: '', incarnation: this.#incarnation, detail }
  }

  #opened(link: Link): ClientSession {
    const { adapter, logger } = this.#options
    const peer = link.remoteAddress
    logger.info({ peer }, 'client connected')
    const session: ClientSession = new ClientSession(link, {
      adapter,
      logger,
      onClosed: () => {
        this.#sessions.delete(session)
        logger.info({ peer }, 'client disconnected')
      },
    })
    this.#sessions.add(session)
    return session
  }
}
