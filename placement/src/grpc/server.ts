/** The gRPC server of a Placement Center node: its calls, the Raft transport, health and reflection. */
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { placement, raft, serveHealthAndReflection } from '@robust/proto'
import { SERVER_OPTIONS } from '../grpc-settings.ts'

export interface GrpcServerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly placement: placement.PlacementServer
  readonly raft: raft.RaftTransportServer
}

export interface GrpcServer {
  readonly port: number
  setServing(serving: boolean): void
  /** Lets calls that run finish for a moment, then ends them. */
  stop(): Promise<void>
}

/** The address cannot be listened on. */
export class ListenError extends Error {
  override readonly name = 'ListenError'
  readonly address: string
  readonly isInUse: boolean

  constructor(address: string, cause: Error) {
    const isInUse = cause.message.includes('EADDRINUSE')
    super(isInUse ? `${address} is in use` : `cannot listen on ${address}`, { cause })
    this.address = address
    this.isInUse = isInUse
  }
}

/** Events of the watch go to many at once and are encoded once. */
const encoded = new WeakMap<placement.WatchEvent, Buffer>()

const SERVICE = {
  ...placement.PlacementService,
  watch: {
    ...placement.PlacementService.watch,
    responseSerialize: (event: placement.WatchEvent): Buffer => {
      let bytes = encoded.get(event)
      if (bytes === undefined) {
        bytes = placement.PlacementService.watch.responseSerialize(event)
        encoded.set(event, bytes)
      }
      return bytes
    },
  },
} as const

const SERVICES = ['robust.placement.v1.Placement', 'robust.raft.v1.RaftTransport']
const DRAIN_MS = 500

/** @throws ListenError */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const server = new Server(SERVER_OPTIONS)
  server.addService(SERVICE, options.placement)
  server.addService(raft.RaftTransportService, options.raft)
  const setStatus = await serveHealthAndReflection(server, SERVICES)
  setStatus('NOT_SERVING')
  const address = `${options.host}:${options.port}`
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(new ListenError(address, error))
      else resolve(bound)
    })
  })
  return {
    port,
    setServing: (serving) => setStatus(serving ? 'SERVING' : 'NOT_SERVING'),
    stop: () =>
      new Promise((resolve) => {
        const force = setTimeout(() => {
          server.forceShutdown()
          resolve()
        }, DRAIN_MS)
        server.tryShutdown(() => {
          clearTimeout(force)
          resolve()
        })
      }),
  }
}
