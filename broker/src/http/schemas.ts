/** What the administration takes and answers, in JSON Schema. Names are those of the command line's JSON. */

type Schema = Readonly<Record<string, unknown>>

const text = (description?: string): Schema => ({
  type: 'string',
  ...(description !== undefined && { description }),
})
const number = (description?: string): Schema => ({
  type: 'integer',
  ...(description !== undefined && { description }),
})
const flag: Schema = { type: 'boolean' }
const list = (items: Schema): Schema => ({ type: 'array', items })
const ref = (name: string): Schema => ({ $ref: `${name}#` })

function record(id: string, properties: Readonly<Record<string, Schema>>, optional: string[] = []) {
  const required = Object.keys(properties).filter((name) => !optional.includes(name))
  return { $id: id, type: 'object', required, properties } as const
}

function pageOf(id: string, item: string) {
  const next = {
    type: ['string', 'null'],
    description: 'What to give as `after` for the next page; null: this is the last one',
  }
  return record(id, { items: list(ref(item)), next })
}

const client = {
  node: text('The broker that it is connected to'),
  clientId: text(),
  user: text(),
  protocol: text('And its version'),
  remote: text('Address and port'),
  entrance: text('How it came: mqtt, mqtts, ws, wss'),
  connectedAtMs: number('Unix time'),
  keepAliveSeconds: number(),
  expirySeconds: number('Of its session; 0: ends with the connection, 4294967295: never'),
  subscriptions: number(),
  messagesIn: number(),
  messagesOut: number(),
  dropped: number('Messages that it was too slow for'),
}

const session = {
  node: text('The broker that owns its shard'),
  clientId: text(),
  connectedTo: text('A broker; empty: it is away'),
  awaySinceMs: number('Unix time; 0: it is connected'),
  expirySeconds: number('4294967295: never'),
  subscriptions: number(),
  queued: number('Messages that wait for it or are not acknowledged'),
  shard: number(),
}

const subscription = {
  node: text('The broker that told of it'),
  clientId: text(),
  filter: text(),
  guarantee: number('The highest QoS'),
  noLocal: flag,
  retainAsPublished: flag,
  identifier: number('0: none'),
}

const retained = {
  node: text('The broker that owns its shard'),
  address: text('Its topic'),
  guarantee: number('QoS'),
  bytes: number('Of the payload'),
  publishedAtMs: number('Unix time'),
  expiresAtMs: number('Unix time; 0: never'),
}

const bridge = {
  node: text('The broker that runs it'),
  name: text(),
  state: { type: 'string', enum: ['connecting', 'connected', 'waiting', 'stopped'] },
  remote: text('URL of the other side'),
  sinceMs: number('Unix time, of the state'),
  lastError: text('Empty: there was none'),
  reconnects: number(),
  received: number('Messages from the other side'),
  sent: number('Messages to the other side'),
  looped: number('Messages that had been where they would have gone'),
  refused: number('Messages that the other side did not take'),
}

const broker = {
  node: text(),
  state: { type: 'string', enum: ['active', 'draining'] },
  epoch: number('Of its registration'),
  version: text(),
  grpcAddress: text(),
  shards: number('That it owns'),
  endpoints: list({
    type: 'object',
    required: ['protocol', 'host', 'port'],
    properties: { protocol: text(), host: text(), port: number() },
  }),
}

const brokerState = {
  ...broker,
  placementConnected: flag,
  storageAvailable: flag,
  storagePromise: text(),
  metadataIndex: number(),
  connections: number(),
  sessions: number(),
  memoryBytes: number(),
  throttled: flag,
  counters: { type: 'object', additionalProperties: { type: 'integer' } },
  settings: {
    type: 'object',
    additionalProperties: { type: 'string' },
    description: 'Those in force there, as JSON, without secrets',
  },
}

const cluster = {
  clusterId: text(),
  answeredBy: text('The broker that was asked: it tells what it knows'),
  health: { type: 'string', enum: ['healthy', 'degraded', 'critical'] },
  reasons: list(text()),
  metadataIndex: number(),
  placement: {
    type: 'object',
    required: ['connected', 'silenceMs', 'term'],
    properties: { connected: flag, silenceMs: number(), term: number() },
  },
  shards: {
    type: 'object',
    required: ['total', 'open', 'granted', 'free'],
    properties: {
      total: number(),
      open: number('Served'),
      granted: number('Given to a broker that does not serve them yet'),
      free: number('Without an owner'),
    },
  },
  brokers: list(ref('Broker')),
}

export const SCHEMAS = [
  record('Client', client),
  pageOf('ClientPage', 'Client'),
  record('Session', session),
  pageOf('SessionPage', 'Session'),
  record('Subscription', subscription),
  pageOf('SubscriptionPage', 'Subscription'),
  record('Retained', retained),
  pageOf('RetainedPage', 'Retained'),
  record('RetainedMessage', {
    ...Object.fromEntries(Object.entries(retained).filter(([name]) => name !== 'node')),
    payload: { type: 'string', contentEncoding: 'base64' },
  }),
  record(
    'ClientState',
    { client: ref('Client'), session: ref('Session'), subscriptions: list(ref('Subscription')) },
    ['client', 'session'],
  ),
  record('Bridge', bridge),
  pageOf('BridgePage', 'Bridge'),
  record('Broker', broker),
  record('BrokerState', brokerState),
  record('Cluster', cluster),
  record('Readiness', {
    ready: flag,
    checks: list({
      type: 'object',
      required: ['name', 'ok', 'detail'],
      properties: { name: text(), ok: flag, detail: text() },
    }),
  }),
  record('Problem', {
    type: text('A URN that stays'),
    title: text(),
    status: number(),
    detail: text(),
  }),
] as const

export const PAGE_MAX = 10_000

export const pageQuery = {
  type: 'object',
  additionalProperties: false,
  properties: {
    filter: text('What a name must contain; of retained messages an MQTT filter'),
    after: text('Only what sorts after it: `next` of the page before'),
    limit: { type: 'integer', minimum: 1, maximum: PAGE_MAX, default: 100 },
  },
} as const

export function namedBy(name: string, description: string) {
  return {
    type: 'object',
    required: [name],
    properties: { [name]: { ...text(description), minLength: 1 } },
  } as const
}
