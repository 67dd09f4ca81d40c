/** `robust client`, `session`, `subscription` and `retained`: what the clients of a cluster have, and its end. */
import type { admin } from '@robust/proto'
import {
  deleteRetained,
  deleteSession,
  getRetained,
  kickClient,
  type Listed,
  listClients,
  listRetained,
  listSessions,
  listSubscriptions,
  type OnNode,
  type PageOptions,
} from '../administration-client.ts'
import { addressesOf, type TargetOptions } from '../cluster/target.ts'
import type { Context } from '../context.ts'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { type Column, table } from '../output.ts'

export interface ListOptions extends TargetOptions {
  readonly filter?: string
  readonly after?: string
  readonly limit?: number
}

interface Shown<T> {
  readonly columns: readonly Column[]
  readonly row: (item: OnNode<T>) => readonly string[]
}

const LIMIT = 100
const NEVER_SECONDS = 0xffff_ffff

const CLIENTS: Shown<admin.Client> = {
  columns: [
    { title: 'CLIENT' },
    { title: 'USER' },
    { title: 'PROTOCOL' },
    { title: 'FROM' },
    { title: 'BROKER' },
    { title: 'SINCE' },
    { title: 'SUBSCRIPTIONS', right: true },
    { title: 'IN', right: true },
    { title: 'OUT', right: true },
    { title: 'DROPPED', right: true },
  ],
  row: (client) => [
    client.clientId,
    client.user || '-',
    client.protocol,
    client.remote,
    client.node,
    timeOf(client.connectedAtMs),
    ...[client.subscriptions, client.messagesIn, client.messagesOut, client.dropped].map(String),
  ],
}

const SESSIONS: Shown<admin.SessionState> = {
  columns: [
    { title: 'CLIENT' },
    { title: 'CONNECTED TO' },
    { title: 'AWAY SINCE' },
    { title: 'EXPIRES AFTER' },
    { title: 'SUBSCRIPTIONS', right: true },
    { title: 'QUEUED', right: true },
    { title: 'SHARD', right: true },
    { title: 'OWNER' },
  ],
  row: (session) => [
    session.clientId,
    session.connectedTo || '-',
    session.awaySinceMs === 0 ? '-' : timeOf(session.awaySinceMs),
    session.expirySeconds === NEVER_SECONDS ? 'never' : `${session.expirySeconds} s`,
    ...[session.subscriptions, session.queued, session.shard].map(String),
    session.node,
  ],
}

const SUBSCRIPTIONS: Shown<admin.ClientSubscription> = {
  columns: [
    { title: 'CLIENT' },
    { title: 'FILTER' },
    { title: 'QOS', right: true },
    { title: 'OPTIONS' },
  ],
  row: ({ clientId, filter, guarantee, noLocal, retainAsPublished, identifier }) => [
    clientId,
    filter,
    String(guarantee),
    [
      noLocal ? 'no-local' : '',
      retainAsPublished ? 'retain-as-published' : '',
      identifier > 0 ? `id=${identifier}` : '',
    ]
      .filter((option) => option !== '')
      .join(' ') || '-',
  ],
}

const RETAINED: Shown<admin.RetainedMessage> = {
  columns: [
    { title: 'TOPIC' },
    { title: 'QOS', right: true },
    { title: 'BYTES', right: true },
    { title: 'PUBLISHED' },
    { title: 'EXPIRES' },
  ],
  row: (message) => [
    message.address,
    String(message.guarantee),
    String(message.bytes),
    timeOf(message.publishedAtMs),
    message.expiresAtMs === 0 ? 'never' : timeOf(message.expiresAtMs),
  ],
}

export async function clientList(context: Context, options: ListOptions): Promise<number> {
  return show(context, await listClients(addressesOf(context, options), pageOf(options)), CLIENTS)
}

export async function clientShow(
  context: Context,
  clientId: string,
  options: TargetOptions,
): Promise<number> {
  const addresses = addressesOf(context, options)
  const page = { filter: clientId, after: '', limit: 10_000 }
  const named = <T extends { readonly clientId: string }>({ items }: Listed<T>) =>
    items.filter((item) => item.clientId === clientId)
  const [client] = named(await listClients(addresses, page))
  const [session] = named(await listSessions(addresses, page))
  if (client === undefined && session === undefined) throw missing(`client ${clientId}`)
  const subscriptions = named(await listSubscriptions(addresses, page))
  const { output, format } = context
  if (format === 'json') {
    output.json({ client, session, subscriptions })
    return exitCodes.ok
  }
  const lines = Object.entries({ ...session, ...client, subscriptions: undefined })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      const isTime = name.endsWith('Ms') && Number(value) > 0
      const shown = isTime ? timeOf(Number(value)) : String(value)
      return `${output.paint.dim(name.replace(/Ms$/, '').padEnd(18))} ${shown}`
    })
  output.print(lines.join('\n'))
  if (subscriptions.length > 0) {
    output.print(
      `\n${table(SUBSCRIPTIONS.columns, subscriptions.map(SUBSCRIPTIONS.row), output.paint)}`,
    )
  }
  return exitCodes.ok
}

export async function clientKick(
  context: Context,
  clientId: string,
  options: TargetOptions,
): Promise<number> {
  const existed = await kickClient(addressesOf(context, options), clientId)
  if (!existed) throw missing(`connected client ${clientId}`)
  return done(context, { clientId, kicked: true }, `client ${clientId} is disconnected`)
}

export async function sessionList(context: Context, options: ListOptions): Promise<number> {
  return show(context, await listSessions(addressesOf(context, options), pageOf(options)), SESSIONS)
}

export async function sessionShow(
  context: Context,
  clientId: string,
  options: TargetOptions,
): Promise<number> {
  const page = { filter: clientId, after: '', limit: 10_000 }
  const { items } = await listSessions(addressesOf(context, options), page)
  if (!items.some((session) => session.clientId === clientId)) throw missing(`session ${clientId}`)
  return clientShow(context, clientId, options)
}

export async function sessionDelete(
  context: Context,
  clientId: string,
  options: TargetOptions,
): Promise<number> {
  const existed = await deleteSession(addressesOf(context, options), clientId)
  if (!existed) throw missing(`session ${clientId}`)
  return done(context, { clientId, deleted: true }, `session ${clientId} is deleted`)
}

export async function subscriptionList(context: Context, options: ListOptions): Promise<number> {
  const listed = await listSubscriptions(addressesOf(context, options), pageOf(options))
  return show(context, listed, SUBSCRIPTIONS)
}

export async function retainedList(context: Context, options: ListOptions): Promise<number> {
  return show(context, await listRetained(addressesOf(context, options), pageOf(options)), RETAINED)
}

export async function retainedGet(
  context: Context,
  topic: string,
  options: TargetOptions,
): Promise<number> {
  const asked = getRetained(addressesOf(context, options), topic)
  const message = await asked.catch((error: unknown) => {
    const isMissing = error instanceof CliError && error.id === 'REFUSED'
    throw isMissing ? missing(`retained message of ${topic}`) : error
  })
  const payload = Buffer.from(message.payload)
  const { output, format } = context
  if (format === 'json') output.json({ ...message, payload: payload.toString('base64') })
  else output.print(payload.toString())
  return exitCodes.ok
}

export async function retainedDelete(
  context: Context,
  topic: string,
  options: TargetOptions,
): Promise<number> {
  const existed = await deleteRetained(addressesOf(context, options), topic)
  if (!existed) throw missing(`retained message of ${topic}`)
  return done(context, { topic, deleted: true }, `nothing is retained for ${topic} any more`)
}

function show<T>(
  { output, format }: Context,
  { items, next }: Listed<T>,
  { columns, row }: Shown<T>,
): number {
  if (format === 'json') {
    output.json({ items, next: next ?? null })
    return exitCodes.ok
  }
  output.print(table(columns, items.map(row), output.paint))
  if (next !== undefined) output.warn(`there may be more: --after ${JSON.stringify(next)}`)
  return exitCodes.ok
}

function done({ output, format }: Context, value: object, text: string): number {
  if (format === 'json') output.json(value)
  else output.print(text)
  return exitCodes.ok
}

function pageOf({ filter = '', after = '', limit = LIMIT }: ListOptions): PageOptions {
  return { filter, after, limit }
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}

function missing(what: string): CliError {
  return new CliError('NO_SUCH_CLIENT', {
    message: `there is no ${what}`,
    exit: exitCodes.notFound,
  })
}
