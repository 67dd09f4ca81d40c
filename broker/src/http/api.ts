/** `/api/v1`: what operators see of the cluster and end in it. */
import type { FastifyInstance, FastifySchema } from 'fastify'
import type { ClusterPort, Page } from './ports.ts'
import { PROBLEM_TYPE, ProblemError } from './problem.ts'
import { namedBy, pageQuery } from './schemas.ts'

interface Asked {
  readonly Querystring: Page
  readonly Params: Readonly<Record<string, string>>
}

interface Described {
  readonly tag: string
  readonly summary: string
  /** Undefined: nothing but the status. */
  readonly answer?: string
  readonly more?: FastifySchema
}

/** Pages that are looked through for one name. */
const SEARCH_LIMIT = 1_000

export function registerApi(app: FastifyInstance, cluster: ClusterPort): void {
  registerClients(app, cluster)
  registerSessions(app, cluster)
  registerRetained(app, cluster)
  registerCluster(app, cluster)
}

function registerClients(app: FastifyInstance, cluster: ClusterPort): void {
  const byId = { params: namedBy('clientId', 'The client id') }
  const tag = 'clients'
  app.get<Asked>(
    '/clients',
    described({ tag, summary: 'Connected clients', answer: 'ClientPage', more: paged }),
    ({ query }) => shown(cluster.clients(pageOf(query))),
  )
  app.get<Asked>(
    '/clients/:clientId',
    described({
      tag,
      summary: 'A client, its session and its subscriptions',
      answer: 'ClientState',
      more: byId,
    }),
    ({ params: { clientId = '' } }) => clientState(cluster, clientId),
  )
  app.delete<Asked>(
    '/clients/:clientId',
    described({ tag, summary: 'Ends the connection of a client', more: byId }),
    async ({ params: { clientId = '' } }, reply) => {
      require(await cluster.kick(clientId), `there is no connected client ${clientId}`)
      return reply.code(204).send()
    },
  )
  app.get<Asked>(
    '/subscriptions',
    described({
      tag: 'subscriptions',
      summary: 'Subscriptions of clients and sessions',
      answer: 'SubscriptionPage',
      more: paged,
    }),
    ({ query }) => shown(cluster.subscriptions(pageOf(query))),
  )
}

function registerSessions(app: FastifyInstance, cluster: ClusterPort): void {
  const byId = { params: namedBy('clientId', 'The client id') }
  const tag = 'sessions'
  app.get<Asked>(
    '/sessions',
    described({
      tag,
      summary: 'Sessions that outlive their connections',
      answer: 'SessionPage',
      more: paged,
    }),
    ({ query }) => shown(cluster.sessions(pageOf(query))),
  )
  app.get<Asked>(
    '/sessions/:clientId',
    described({ tag, summary: 'A session', answer: 'Session', more: byId }),
    async ({ params: { clientId = '' } }) => {
      const session = await named(clientId, (page) => cluster.sessions(page))
      if (session === undefined) {
        throw new ProblemError('not-found', `there is no session of ${clientId}`)
      }
      return session
    },
  )
  app.delete<Asked>(
    '/sessions/:clientId',
    described({ tag, summary: 'Ends a session, and its connection with it', more: byId }),
    async ({ params: { clientId = '' } }, reply) => {
      require(await cluster.endSession(clientId), `there is no session of ${clientId}`)
      return reply.code(204).send()
    },
  )
}

function registerRetained(app: FastifyInstance, cluster: ClusterPort): void {
  const byAddress = { params: namedBy('address', 'The topic, percent-encoded: a%2Fb') }
  const tag = 'retained'
  const missing = (address: string): string => `nothing is retained for ${address}`
  app.get<Asked>(
    '/retained',
    described({
      tag,
      summary: 'Retained messages, without payloads',
      answer: 'RetainedPage',
      more: paged,
    }),
    ({ query }) => shown(cluster.retained(pageOf(query))),
  )
  app.get<Asked>(
    '/retained/:address',
    described({ tag, summary: 'A retained message', answer: 'RetainedMessage', more: byAddress }),
    async ({ params: { address = '' } }) => {
      const message = await cluster.retainedAt(address)
      if (message === undefined) throw new ProblemError('not-found', missing(address))
      const { guarantee, timestampMs: publishedAtMs, expiresAtMs } = message
      const payload = Buffer.from(message.payload)
      const bytes = payload.length
      const times = { publishedAtMs, expiresAtMs }
      return { address, guarantee, bytes, ...times, payload: payload.toString('base64') }
    },
  )
  app.delete<Asked>(
    '/retained/:address',
    described({ tag, summary: 'Forgets a retained message; tells nobody', more: byAddress }),
    async ({ params: { address = '' } }, reply) => {
      require(await cluster.forgetRetained(address), missing(address))
      return reply.code(204).send()
    },
  )
}

function registerCluster(app: FastifyInstance, cluster: ClusterPort): void {
  const tag = 'cluster'
  app.get(
    '/cluster',
    described({ tag, summary: 'The cluster and its health', answer: 'Cluster' }),
    () => Promise.resolve(cluster.summary()),
  )
  app.get<Asked>(
    '/bridges',
    described({
      tag,
      summary: 'Bridges that run, to other MQTT brokers',
      answer: 'BridgePage',
      more: paged,
    }),
    ({ query }) => shown(cluster.bridges(pageOf(query))),
  )
  app.get<Asked>(
    '/brokers/:node',
    described({
      tag,
      summary: 'A broker: its state, its counters, the settings that it obeys',
      answer: 'BrokerState',
      more: { params: namedBy('node', 'Its node id') },
    }),
    async ({ params: { node = '' } }) => {
      const known = cluster.summary().brokers.find((broker) => broker.node === node)
      if (known === undefined) throw new ProblemError('not-found', `there is no broker ${node}`)
      const { shards: _, ...state } = await cluster.inspect(node)
      return { ...state, ...known }
    },
  )
}

async function clientState(cluster: ClusterPort, clientId: string) {
  const client = await named(clientId, (page) => cluster.clients(page))
  const session = await named(clientId, (page) => cluster.sessions(page))
  if (client === undefined && session === undefined) {
    throw new ProblemError('not-found', `there is no client ${clientId}`)
  }
  const page = { filter: clientId, after: `${clientId}\0`, limit: SEARCH_LIMIT }
  const { items } = await cluster.subscriptions(page)
  const subscriptions = items.filter((item) => item.clientId === clientId)
  return { client, session, subscriptions }
}

interface Listed<T> {
  readonly items: readonly T[]
  readonly next: string | undefined
}

/** The one of exactly that name; lists are of names that contain it. */
async function named<T extends { readonly clientId: string }>(
  clientId: string,
  list: (page: Page) => Promise<Listed<T>>,
): Promise<T | undefined> {
  let after: string | undefined = ''
  while (after !== undefined && after < clientId) {
    const page: Listed<T> = await list({ filter: clientId, after, limit: SEARCH_LIMIT })
    const found = page.items.find((item) => item.clientId === clientId)
    if (found !== undefined) return found
    after = page.next
  }
  return undefined
}

const paged: FastifySchema = { querystring: pageQuery }

function described({ tag, summary, answer, more }: Described): { schema: FastifySchema } {
  const ok =
    answer === undefined
      ? { 204: { type: 'null', description: 'Done' } }
      : { 200: { description: summary, $ref: `${answer}#` } }
  const problem = {
    description: 'RFC 9457',
    content: { [PROBLEM_TYPE]: { schema: { $ref: 'Problem#' } } },
  }
  const response = { ...ok, '4xx': problem, '5xx': problem }
  return { schema: { tags: [tag], summary, ...more, response } }
}

function pageOf({ filter = '', after = '', limit }: Partial<Page> & { limit: number }): Page {
  return { filter, after, limit }
}

async function shown<T>(page: Promise<Listed<T>>) {
  const { items, next } = await page
  return { items, next: next ?? null }
}

function require(existed: boolean, detail: string): void {
  if (!existed) throw new ProblemError('not-found', detail)
}
