import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import type { FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { BrokerError } from '../core/errors.ts'
import type { Message } from '../core/message.ts'
import type { Authenticated, Credentials } from '../security/authenticator.ts'
import type { ClusterPort, ClusterSummary, Page, Readiness } from './ports.ts'
import { PROBLEMS } from './problem.ts'
import { createApp } from './server.ts'

const SUMMARY: ClusterSummary = {
  clusterId: 'c',
  answeredBy: 'b1',
  health: 'healthy',
  reasons: [],
  metadataIndex: 3,
  placement: { connected: true, silenceMs: 1, term: 2 },
  shards: { total: 4, open: 4, granted: 0, free: 0 },
  brokers: [],
}

const MESSAGE: Message = {
  address: 'a/b',
  guarantee: 1,
  retain: true,
  payload: Buffer.from([0, 0xff]),
  dialect: 'mqtt',
  properties: new Uint8Array(0),
  timestampMs: 5,
  expiresAtMs: 0,
  publisher: 'p',
  token: '',
}

const client = (clientId: string) => ({
  ...{ node: 'b1', clientId, user: '', protocol: 'MQTT 5.0', remote: '', entrance: 'mqtt' },
  ...{ connectedAtMs: 1, keepAliveSeconds: 60, expirySeconds: 0, subscriptions: 0 },
  ...{ messagesIn: 0, messagesOut: 0, dropped: 0 },
})

const CLIENTS = ['alpha', 'alpha-2', 'beta']
const empty = () => Promise.resolve({ items: [], next: undefined })

let app: FastifyInstance
let asked: Page[]
let readiness: Readiness
let found: Authenticated
let given: Credentials | undefined
const log: object[] = []

const cluster: ClusterPort = {
  summary: () => SUMMARY,
  inspect: () => Promise.reject(new BrokerError('UNAVAILABLE', 'b1 does not answer')),
  clients: (page) => {
    asked.push(page)
    const names = CLIENTS.filter((name) => name.includes(page.filter) && name > page.after)
    const items = names.slice(0, page.limit).map(client)
    const next = names.length > page.limit ? items.at(-1)?.clientId : undefined
    return Promise.resolve({ items, next })
  },
  sessions: empty,
  subscriptions: empty,
  retained: empty,
  bridges: empty,
  kick: (clientId) => Promise.resolve(CLIENTS.includes(clientId)),
  endSession: () => Promise.reject(new Error('a secret detail')),
  retainedAt: (address) => Promise.resolve(address === MESSAGE.address ? MESSAGE : undefined),
  forgetRetained: () => Promise.resolve(false),
}

beforeEach(async () => {
  asked = []
  log.length = 0
  readiness = { ready: true, checks: [{ name: 'member', ok: true, detail: '' }] }
  found = { kind: 'in', user: 'anonymous', access: undefined, isUnproved: true }
  app = await createApp({
    ...{ host: '127.0.0.1', port: 0, version: '1.2.3', cluster },
    readiness: () => readiness,
    metrics: { contentType: 'text/plain', render: () => Promise.resolve('robust_ready 1\n') },
    authenticate: (credentials) => {
      given = credentials
      return Promise.resolve(found)
    },
    log: { info: (fields) => log.push(fields), error: (fields) => log.push(fields) },
  })
})

afterEach(() => app.close())

const HOST = 'localhost:8080'

async function get(url: string, headers: Record<string, string> = {}) {
  const reply = await app.inject({ method: 'GET', url, headers: { host: HOST, ...headers } })
  return { code: reply.statusCode, type: reply.headers['content-type'], body: reply.body }
}

describe('probes', () => {
  test('livez answers whatever is wrong, readyz says what', async () => {
    readiness = { ready: false, checks: [{ name: 'listeners', ok: false, detail: 'not open' }] }
    found = { kind: 'not-authorised' }
    expect(await get('/livez')).toMatchObject({ code: 200, body: 'ok\n' })
    const ready = await get('/readyz')
    expect(ready.code).toBe(503)
    expect(JSON.parse(ready.body)).toEqual(readiness)
    readiness = { ...readiness, ready: true }
    expect((await get('/readyz')).code).toBe(200)
  })
})

describe('access', () => {
  test('without users the loopback interface is open, by a name that leads there', async () => {
    for (const host of ['localhost', '127.0.0.1:8080', '[::1]:8080']) {
      expect((await get('/metrics', { host })).code, host).toBe(200)
    }
    expect((await get('/metrics', { host: 'rebound.example:8080' })).code).toBe(403)
    const remote = { method: 'GET', url: '/metrics', headers: { host: HOST } } as const
    const reply = await app.inject({ ...remote, remoteAddress: '192.0.2.7' })
    expect(reply.statusCode).toBe(403)
  })

  test('with users an administrator comes in, by Basic or Bearer, and nobody else', async () => {
    found = { kind: 'in', user: 'root', access: undefined }
    const basic = `Basic ${Buffer.from('root:pa:ss').toString('base64')}`
    expect((await get('/api/v1/cluster', { authorization: basic })).code).toBe(200)
    expect(given?.username).toBe('root')
    expect(Buffer.from(given?.password ?? []).toString()).toBe('pa:ss')
    expect((await get('/metrics', { authorization: 'Bearer a.b.c' })).code).toBe(200)
    expect(given?.username).toBe(undefined)
    expect(Buffer.from(given?.password ?? []).toString()).toBe('a.b.c')
    const access = {} as never
    found = { kind: 'in', user: 'reader', access }
    expect((await get('/metrics', { authorization: basic })).code).toBe(403)
    found = { kind: 'unavailable' }
    expect((await get('/metrics', { authorization: basic })).code).toBe(503)
    found = { kind: 'bad-credentials' }
    const refused = await app.inject({ method: 'GET', url: '/api/v1/cluster' })
    expect(refused.statusCode).toBe(401)
    expect(refused.headers['www-authenticate']).toContain('Basic')
    expect((await get('/metrics', { authorization: 'Digest x' })).code).toBe(401)
  })
})

describe('/api/v1', () => {
  test('pages hand on what was asked, and say where the next one begins', async () => {
    const { body } = await get('/api/v1/clients?filter=alpha&limit=1')
    expect(JSON.parse(body)).toMatchObject({ items: [{ clientId: 'alpha' }], next: 'alpha' })
    const rest = await get('/api/v1/clients?filter=alpha&after=alpha')
    expect(JSON.parse(rest.body)).toMatchObject({ items: [{ clientId: 'alpha-2' }], next: null })
    expect(asked[1]).toEqual({ filter: 'alpha', after: 'alpha', limit: 100 })
  })

  test('a name is that of one client, not of all that contain it', async () => {
    const state = JSON.parse((await get('/api/v1/clients/alpha')).body)
    expect(state).toMatchObject({ client: { clientId: 'alpha' }, subscriptions: [] })
    expect((await get('/api/v1/clients/alph')).code).toBe(404)
  })

  test('a retained message is named by its percent-encoded topic', async () => {
    const { body } = await get('/api/v1/retained/a%2Fb')
    expect(JSON.parse(body)).toEqual({
      ...{ address: 'a/b', guarantee: 1, bytes: 2, publishedAtMs: 5, expiresAtMs: 0 },
      payload: Buffer.from([0, 0xff]).toString('base64'),
    })
    expect((await get(`/api/v1/retained/${'x'.repeat(60_000)}`)).code).toBe(404)
  })

  test('errors are problem details, and tell no internals', async () => {
    const remove = async (url: string) => {
      const reply = await app.inject({ method: 'DELETE', url, headers: { host: HOST } })
      return [reply.statusCode, reply.headers['content-type'], reply.body] as const
    }
    expect((await remove('/api/v1/clients/beta'))[0]).toBe(204)
    const [code, type, body] = await remove('/api/v1/clients/nobody')
    expect([code, type]).toEqual([404, 'application/problem+json; charset=utf-8'])
    expect(JSON.parse(body)).toEqual({
      type: 'urn:robust:problem:not-found',
      title: 'There is nothing of that name',
      status: 404,
      detail: 'there is no connected client nobody',
    })
    const [failed, , text] = await remove('/api/v1/sessions/x')
    expect(failed).toBe(500)
    expect(text).not.toContain('secret')
    expect(log.at(-1)).toMatchObject({ errId: 'HTTP_REQUEST_FAILED' })
    for (const query of ['limit=0', 'limit=10001', 'limit=x', 'filer=a']) {
      const bad = await get(`/api/v1/clients?${query}`)
      expect([bad.code, bad.type], query).toEqual([400, type])
    }
    expect((await get('/api/v1/nothing')).code).toBe(404)
    expect((await get('/api/v1/brokers/b9')).code).toBe(404)
  })
})

test('the description of the interface is valid OpenAPI, and has every path', async () => {
  found = { kind: 'not-authorised' }
  const { code, body } = await get('/api/v1/openapi.json')
  expect(code).toBe(200)
  const document = JSON.parse(body)
  expect(await new Validator().validate(document)).toMatchObject({ valid: true })
  expect(document.openapi).toBe('3.1.0')
  expect(Object.keys(document.paths).length).toBeGreaterThan(10)
  expect(document.components.schemas.ClientPage.properties.items.items).toEqual({
    $ref: '#/components/schemas/Client',
  })
})

describe('docs/http-api.md', () => {
  const docs = readFileSync(resolve(import.meta.dirname, '../../../docs/http-api.md'), 'utf8')
  const rows = (pattern: RegExp) => docs.split('\n').filter((line) => pattern.test(line))

  test('lists every path of the description, and no others', async () => {
    const { paths } = JSON.parse((await get('/api/v1/openapi.json')).body) as {
      paths: Record<string, Record<string, { summary: string }>>
    }
    const expected = Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations).map(
        ([method, { summary }]) => `| ${method.toUpperCase()} | \`${path}\` | ${summary} |`,
      ),
    )
    expect(rows(/^\| (GET|PUT|POST|DELETE) \|/).sort()).toEqual(expected.sort())
  })

  test('lists every problem, and no others', () => {
    const expected = Object.entries(PROBLEMS).map(
      ([id, { status, title }]) => `| \`urn:robust:problem:${id}\` | ${status} | ${title} |`,
    )
    expect(rows(/^\| `urn:/)).toEqual(expected)
  })
})
