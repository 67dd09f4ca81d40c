/**
 * Serves any adapter to other processes over gRPC, with health and reflection. Fencing makes it safe for
 * several clients at once; the adapter stays its owner's to stop.
 */
import { createServer } from 'node:net'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { serveHealthAndReflection, storage } from '@robust/proto'
import type { Logger } from '../logger.ts'
import type { StorageAdapter } from '../storage-adapter.ts'
import { channelOptions } from '../wire/channel.ts'
import { ClientSession, type ClientStream } from './client-session.ts'

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

const serviceName = 'robust.storage.v1.Storage'

/** How long clients get to take their last answers. */
const drainMs = 5000

export function createStorageService(options: StorageServiceOptions): StorageService {
  const { adapter, logger, host } = options
  const server = new Server(channelOptions)
  const sessions = new Set<ClientSession>()
  let port = options.port
  let setStatus: ((status: 'SERVING' | 'NOT_SERVING') => void) | undefined
  let stopping: Promise<void> | undefined
  let isStopping = false

  const implementation: storage.StorageServer = {
    exchange(stream: ClientStream) {
      const session = new ClientSession(stream, { adapter, logger })
      const peer = stream.getPeer()
      sessions.add(session)
      logger.info({ peer }, 'client connected')
      session.start(() => {
        sessions.delete(session)
        logger.info({ peer }, 'client disconnected')
      })
      if (isStopping) session.drain()
    },
  }

  async function start(): Promise<void> {
    if (port !== 0) await checkPortIsFree(host, port)
    setStatus = serveHealthAndReflection(server, [serviceName])
    server.addService(storage.StorageService, implementation)
    port = await bind(server, `${host.includes(':') ? `[${host}]` : host}:${port}`)
    setStatus('SERVING')
  }

  async function drainAndClose(): Promise<void> {
    setStatus?.('NOT_SERVING')
    const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
    for (const session of sessions) session.drain()
    const timer = setTimeout(() => server.forceShutdown(), drainMs)
    await closed
    clearTimeout(timer)
  }

  return {
    get port() {
      return port
    },
    start,
    stop() {
      isStopping = true
      stopping ??= drainAndClose()
      return stopping
    },
  }
}

function bind(server: Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error) reject(error)
      else resolve(port)
    })
  })
}

/** gRPC tells why it could not bind only in words; the socket tells it as a code. */
function checkPortIsFree(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen({ host, port }, () => probe.close(() => resolve()))
  })
}
