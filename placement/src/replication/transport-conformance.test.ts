/** The gRPC transport against the suite of its port, over loopback. */
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { raft as wire } from '@robust/proto'
import { describeTransport } from 'raft-ts/conformance'
import { SERVER_OPTIONS } from '../grpc-settings.ts'
import { QUIET } from '../testing/loopback.ts'
import { GrpcTransport } from './grpc-transport.ts'

/** A server on a port of its own, whose transport may be another one later. */
async function listen(current: () => GrpcTransport | undefined) {
  const server = new Server(SERVER_OPTIONS)
  server.addService(wire.RaftTransportService, {
    exchange: (stream) => current()?.service.exchange(stream),
    installSnapshot: (call, done) => current()?.service.installSnapshot(call, done),
  } satisfies wire.RaftTransportServer)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    )
  })
  return { address: `127.0.0.1:${port}`, stop: () => server.forceShutdown() }
}

describeTransport('GrpcTransport', {
  create: async () => {
    // As in the process: the service is there before the transport starts, and refuses.
    const transports: { a?: GrpcTransport; b?: GrpcTransport } = {}
    const servers = { a: await listen(() => transports.a), b: await listen(() => transports.b) }
    const member = (id: 'a' | 'b') => ({ id, address: servers[id].address })
    const make = (nodeId: 'a' | 'b'): GrpcTransport => {
      const incarnation = `${nodeId}/1`
      const members = [member('a'), member('b')]
      const options = { clusterId: 'conformance', nodeId, incarnation, members, log: QUIET }
      const transport = new GrpcTransport(options)
      transports[nodeId] = transport
      return transport
    }
    make('a')
    make('b')
    return {
      member,
      transport: async (nodeId) => make(nodeId),
      dispose: async () => {
        servers.a.stop()
        servers.b.stop()
      },
    }
  },
})
