/** The broker's gRPC server: peers, control, health, reflection. */
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { admin, broker, control, serveHealthAndReflection } from '@robust/proto'
import { CHANNEL_OPTIONS } from '../cluster/peer-mesh.ts'

export interface GrpcServerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly peers: broker.BrokerPeerServer
  readonly control: control.BrokerControlServer
  readonly admin: admin.BrokerAdminServer
}

export interface GrpcServer {
  readonly port: number
  setServing(serving: boolean): void
  stop(): void
}

const SERVICES = [
  'robust.broker.v1.BrokerPeer',
  'robust.control.v1.BrokerControl',
  'robust.admin.v1.BrokerAdmin',
]

export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const server = new Server({
    'grpc.max_receive_message_length': CHANNEL_OPTIONS['grpc.max_receive_message_length'] as number,
    'grpc.max_send_message_length': CHANNEL_OPTIONS['grpc.max_send_message_length'] as number,
  })
  server.addService(broker.BrokerPeerService, options.peers)
  server.addService(control.BrokerControlService, options.control)
  server.addService(admin.BrokerAdminService, options.admin)
  const setStatus = serveHealthAndReflection(server, SERVICES)
  setStatus('NOT_SERVING')
  const port = await new Promise<number>((resolve, reject) => {
    const address = `${options.host}:${options.port}`
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(error)
      else resolve(bound)
    })
  })
  return {
    port,
    setServing: (serving) => setStatus(serving ? 'SERVING' : 'NOT_SERVING'),
    stop: () => server.forceShutdown(),
  }
}
