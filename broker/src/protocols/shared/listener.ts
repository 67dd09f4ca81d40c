/** A TCP listener: opens a port, says clearly why it cannot, hands sockets over, counts what is open. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

export class ListenError extends Error {
  readonly code: string
  readonly host: string
  readonly port: number

  constructor(
    message: string,
    options: { code: string; host: string; port: number; cause: unknown },
  ) {
    super(message, { cause: options.cause })
    this.name = 'ListenError'
    this.code = options.code
    this.host = options.host
    this.port = options.port
  }
}

export interface ListenerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly onSocket: (socket: Socket) => void
  readonly onError: (error: Error) => void
}

export interface Listener {
  readonly port: number
  /** No new sockets; the open ones are the caller's. */
  stop(): Promise<void>
}

const BACKLOG = 4_096

export async function listen(options: ListenerOptions): Promise<Listener> {
  const server = createServer({ noDelay: true }, options.onSocket)
  await opened(server, options)
  server.on('error', options.onError)
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
      }),
  }
}

function opened(server: Server, { host, port }: ListenerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EADDRINUSE' ? 'is in use' : `cannot be opened: ${cause.message}`
      const code = cause.code ?? 'UNKNOWN'
      reject(new ListenError(`${host}:${port} ${why}`, { code, host, port, cause }))
    })
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.removeAllListeners('error')
      resolve()
    })
  })
}
