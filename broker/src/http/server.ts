/**
 * The broker's HTTP server, for people, orchestrators and Prometheus: probes, metrics, administration. Probes and
 * the description of the interface are open to everybody; all else is for administrators.
 */
import swagger from '@fastify/swagger'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { registerApi } from './api.ts'
import { type Authenticate, admit } from './gate.ts'
import type { ClusterPort, Readiness } from './ports.ts'
import { PROBLEM_TYPE, type Problem, problem, problemOf } from './problem.ts'
import { SCHEMAS } from './schemas.ts'

export interface HttpServerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly version: string
  readonly readiness: () => Readiness
  readonly metrics: { readonly contentType: string; render(): Promise<string> }
  readonly cluster: ClusterPort
  readonly authenticate: Authenticate
  readonly log: HttpLog
}

export interface HttpLog {
  info(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface HttpServer {
  readonly port: number
  stop(): Promise<void>
}

/** Of a name in a path, percent-encoded: a topic has up to 65,535 bytes. */
const NAME_LENGTH_MAX = 3 * 65_535
const HEADER_TIMEOUT_MS = 10_000
const BODY_BYTES_MAX = 1_024

/** Rejects with the system's error when the port cannot be had. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const app = await createApp(options)
  await app.listen({ host: options.host, port: options.port })
  const address = app.server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    stop: () => app.close(),
  }
}

/** Not listening yet. */
export async function createApp(options: HttpServerOptions): Promise<FastifyInstance> {
  const { log, version } = options
  const app = fastify({
    logger: false,
    forceCloseConnections: true,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: HEADER_TIMEOUT_MS,
    routerOptions: { maxParamLength: NAME_LENGTH_MAX },
    // What is not known is refused, not passed over. The schemas themselves are ours: to check and to compile them took a
    // fifth of the time in which a server is ready.
    ajv: { customOptions: { removeAdditional: false, validateSchema: false } },
  }) as FastifyInstance
  // What handlers answer has these types already.
  app.setSerializerCompiler(() => (answer) => JSON.stringify(answer))
  app.setErrorHandler((error, request, reply) => {
    const found = problemOf(error)
    if (found.status === 500) {
      const fields = { errId: 'HTTP_REQUEST_FAILED', err: error, url: request.url }
      log.error(fields, 'a request failed')
    }
    return answerProblem(reply, found)
  })
  app.setNotFoundHandler(({ method, url }, reply) =>
    answerProblem(reply, problem('not-found', `there is no ${method} ${url}`)),
  )
  await app.register(swagger, { openapi: openApi(version), refResolver })
  for (const schema of SCHEMAS) app.addSchema(schema)
  registerProbes(app, options)
  await app.register((scope, _none, done) => {
    guard(scope, options)
    registerMetrics(scope, options)
    done()
  })
  const register = (scope: FastifyInstance, _none: unknown, done: () => void): void => {
    guard(scope, options)
    registerApi(scope, options.cluster)
    done()
  }
  await app.register(register, { prefix: '/api/v1' })
  return app
}

function registerProbes(app: FastifyInstance, { readiness }: HttpServerOptions): void {
  const tags = ['probes']
  const live = { tags, summary: 'The event loop turns', security: [] }
  app.get('/livez', { schema: live }, (_request, reply) => reply.type('text/plain').send('ok\n'))
  const answers = { description: 'What was looked at', $ref: 'Readiness#' }
  const ready = {
    tags,
    summary: 'A member of the cluster whose listeners are open',
    security: [],
    response: { 200: answers, 503: answers },
  }
  app.get('/readyz', { schema: ready }, (_request, reply) => {
    const found = readiness()
    return reply.code(found.ready ? 200 : 503).send(found)
  })
  const hidden = { hide: true }
  app.get('/api/v1/openapi.json', { schema: hidden }, () => Promise.resolve(app.swagger()))
}

/** Nothing of the scope is for those who are no administrators. */
function guard(scope: FastifyInstance, { authenticate, log }: HttpServerOptions): void {
  scope.addHook('onRequest', async (request: FastifyRequest): Promise<void> => {
    const { authorization, host } = request.headers
    const user = await admit(authenticate, { authorization, host, address: request.ip })
    if (request.method === 'DELETE') {
      log.info({ user, remote: request.ip, url: request.url }, 'changed over HTTP')
    }
  })
}

function registerMetrics(scope: FastifyInstance, { metrics }: HttpServerOptions): void {
  const schema = { tags: ['metrics'], summary: 'Prometheus text' }
  scope.get('/metrics', { schema }, async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.render()),
  )
}

function answerProblem(reply: FastifyReply, found: Problem): FastifyReply {
  if (found.status === 401) {
    reply.header('www-authenticate', 'Basic realm="robust", charset="UTF-8"')
  }
  // As a string: what the route has said about its answers is not about this.
  return reply.code(found.status).type(PROBLEM_TYPE).send(JSON.stringify(found))
}

function openApi(version: string) {
  const securitySchemes = {
    basic: { type: 'http', scheme: 'basic' },
    bearer: { type: 'http', scheme: 'bearer' },
  } as const
  const description =
    'Of the whole cluster; every broker answers. Errors are application/problem+json (RFC 9457). While there ' +
    'are no users, the loopback interface needs no credentials.'
  return {
    openapi: '3.1.0',
    info: { title: 'robust administration', version, description },
    components: { securitySchemes },
    security: [{ basic: [] }, { bearer: [] }],
  }
}

/** Schemas keep their names in the document; each has one. */
const refResolver = {
  buildLocalReference: ({ $id }: Record<string, unknown>) => String($id),
}
