/** The port of a Placement Center node: its gRPC calls, health and reflection, and the links of its members. */
import { Server } from '@grpc/grpc-js'
import {
  type LinkService,
  listenOnSharedPort,
  placement,
  serveHealthAndReflection,
} from '@robust/proto'
import { SERVER_OPTIONS } from '../grpc-settings.ts'

export interface GrpcServerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly placement: placement.PlacementServer
  readonly links: readonly LinkService[]
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

  constructor(address: string, cause: NodeJS.ErrnoException) {
    const isInUse = cause.code === 'EADDRINUSE'
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

const SERVICES = ['robust.placement.v1.Placement']
const DRAIN_MS = 500

/** @throws ListenError */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const server = new Server(SERVER_OPTIONS)
  server.addService(SERVICE, options.placement)
  const setStatus = serveHealthAndReflection(server, SERVICES)
  setStatus('NOT_SERVING')
  const { host, links: services } = options
  const port = await listenOnSharedPort({ host, port: options.port, grpc: server, services }).catch(
    (error: NodeJS.ErrnoException) => {
      server.forceShutdown()
      throw new ListenError(`${host}:${options.port}`, error)
    },
  )
  return {
    port: port.port,
    setServing: (serving) => setStatus(serving ? 'SERVING' : 'NOT_SERVING'),
    stop: async () => {
      await port.close(DRAIN_MS)
      server.forceShutdown()
    },
  }
}
