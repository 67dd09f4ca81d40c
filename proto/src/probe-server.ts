/**
 * Probes and metrics over HTTP for a process that has nothing else to say there: `/livez`, `/readyz`, `/metrics`.
 * Open to whoever reaches it; nothing secret is among them.
 */
import { createServer, type ServerResponse } from 'node:http'

export interface ProbeServerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly checks: () => readonly ProbeCheck[]
  /** Prometheus text. */
  readonly metrics: () => string
}

/** Of readiness. */
export interface ProbeCheck {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
}

export interface ProbeServer {
  readonly port: number
  stop(): Promise<void>
}

const TEXT = 'text/plain; charset=utf-8'
const METRICS = 'text/plain; version=0.0.4; charset=utf-8'

/** Rejects with the system's error when the port cannot be had. */
export function serveProbes(options: ProbeServerOptions): Promise<ProbeServer> {
  const { host, port } = options
  const server = createServer(({ method, url = '' }, reply) => {
    if (method === 'GET' || method === 'HEAD') answer(options, url.replace(/\?.*/, ''), reply)
    else reply.writeHead(405).end()
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      const address = server.address()
      resolve({
        port: typeof address === 'object' && address !== null ? address.port : port,
        stop: () =>
          new Promise((stopped) => {
            server.close(() => stopped())
            server.closeAllConnections()
          }),
      })
    })
  })
}

function answer(options: ProbeServerOptions, path: string, reply: ServerResponse): void {
  switch (path) {
    case '/livez':
      reply.writeHead(200, { 'content-type': TEXT }).end('ok\n')
      return
    case '/readyz': {
      const checks = options.checks()
      const ready = checks.every(({ ok }) => ok)
      reply.writeHead(ready ? 200 : 503, { 'content-type': 'application/json' })
      reply.end(JSON.stringify({ ready, checks }))
      return
    }
    case '/metrics':
      reply.writeHead(200, { 'content-type': METRICS }).end(options.metrics())
      return
    default:
      reply.writeHead(404).end()
  }
}
