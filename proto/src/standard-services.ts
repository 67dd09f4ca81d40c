/** What every gRPC server of ours offers besides its own services: grpc.health.v1 and server reflection. */
import { status as Code, type Server, type ServerWritableStream } from '@grpc/grpc-js'
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  type HealthServer,
  HealthService,
  HealthCheckResponse_ServingStatus as Status,
} from './gen/health.ts'
import { serveReflection } from './reflection.ts'

export type ServingStatus = 'SERVING' | 'NOT_SERVING'

type Watcher = ServerWritableStream<HealthCheckRequest, HealthCheckResponse>

/**
 * Adds both services to a server that is not bound yet. The returned function sets the serving status
 * of the server as a whole and of each service named; NOT_SERVING until it is called.
 */
export function serveHealthAndReflection(
  server: Server,
  services: readonly string[],
): (status: ServingStatus) => void {
  const known = new Set(['', ...services])
  const watchers = new Set<Watcher>()
  let current: Status = Status.NOT_SERVING
  const implementation: HealthServer = {
    check: (call, done) => {
      if (known.has(call.request.service)) done(null, { status: current })
      else done({ code: Code.NOT_FOUND, details: `no service ${call.request.service} here` })
    },
    watch: (stream: Watcher) => {
      if (!known.has(stream.request.service)) {
        stream.write({ status: Status.SERVICE_UNKNOWN })
        return
      }
      stream.write({ status: current })
      watchers.add(stream)
      stream.on('cancelled', () => watchers.delete(stream))
    },
  }
  server.addService(HealthService, implementation)
  serveReflection(server, [...services, 'grpc.health.v1.Health'])
  return (status) => {
    if (current === Status[status]) return
    current = Status[status]
    for (const stream of watchers) stream.write({ status: current })
  }
}
