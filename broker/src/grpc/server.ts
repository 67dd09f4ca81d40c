/** The broker's gRPC server: control, administration, health, reflection; on its port the links of its peers. */
import { Server } from '@grpc/grpc-js'
import {
  admin,
  control,
  type LinkService,
  listenOnSharedPort,
  serveHealthAndReflection,
} from '@robust/proto'
import { CHANNEL_OPTIONS } from '../cluster/channel-options.ts'

export interface GrpcServerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly peers: LinkService
  readonly onRefused: (refused: { readonly from: string; readonly reason: string }) => void
  readonly control: control.BrokerControlServer
  readonly admin: admin.BrokerAdminServer
}

export interface GrpcServer {
  readonly port: number
  setServing(serving: boolean): void
  stop(): void
}

/** How long peers have to end their links. */
const CLOSE_MS = 500

const SERVICES = ['robust.control.v1.BrokerControl', 'robust.admin.v1.BrokerAdmin']

export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const server = new Server({
    'grpc.max_receive_message_length': CHANNEL_OPTIONS['grpc.max_receive_message_length'] as number,
    'grpc.max_send_message_length': CHANNEL_OPTIONS['grpc.max_send_message_length'] as number,
  })
  server.addService(control.BrokerControlService, options.control)
  server.addService(admin.BrokerAdminService, options.admin)
  const setStatus = serveHealthAndReflection(server, SERVICES)
  setStatus('NOT_SERVING')
  const { host, peers, onRefused } = options
  const services = [peers]
  const shared = await listenOnSharedPort({
    ...{ host, port: options.port, grpc: server, services, onRefused },
  })
  return {
    port: shared.port,
    setServing: (serving) => setStatus(serving ? 'SERVING' : 'NOT_SERVING'),
    stop: () => {
      void shared.close(CLOSE_MS)
      server.forceShutdown()
    },
  }
}
