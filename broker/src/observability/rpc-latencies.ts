/** How long the calls take that this broker makes, by method and status code. */
import { InterceptingCall, type Interceptor, ListenerBuilder, status } from '@grpc/grpc-js'
import type { NamedLatencies } from '../core/ports/telemetry.ts'

/** Names are `METHOD CODE`. Streams, which last, are not counted. */
export function observeCalls(latencies: NamedLatencies): Interceptor {
  return (options, nextCall) => {
    const { path, responseStream } = options.method_definition
    if (responseStream) return new InterceptingCall(nextCall(options))
    const method = path.slice(path.lastIndexOf('/') + 1)
    const startedAt = performance.now()
    return new InterceptingCall(nextCall(options), {
      start: (metadata, _listener, next) => {
        const listener = new ListenerBuilder()
          .withOnReceiveStatus((result, pass) => {
            const name = `${method} ${status[result.code] ?? result.code}`
            latencies.of(name).record(performance.now() - startedAt)
            pass(result)
          })
          .build()
        next(metadata, listener)
      },
    })
  }
}
