/** Clients, sessions, subscriptions and retained messages: every broker tells of its own, here they are joined. */
import { type admin, type JoinedPage, joinPages } from '@robust/proto'
import { askBroker } from './clients.ts'
import { leaderStatus } from './cluster/readiness.ts'
import { CliError } from './errors.ts'
import { exitCodes } from './exit-codes.ts'

export type OnNode<T> = T & { readonly node: string }

export interface PageOptions {
  readonly filter: string
  readonly after: string
  readonly limit: number
}

export type Listed<T> = JoinedPage<T>

interface Listing<Reply, Item> {
  readonly ask: (address: string, page: PageOptions) => Promise<Reply | undefined>
  readonly itemsOf: (reply: Reply) => readonly Item[]
  readonly nameOf: (item: Item) => string
}

const CLIENTS: Listing<admin.ListClientsReply, admin.Client> = {
  ask: (address, page) =>
    askBroker(address, (client, call, done) =>
      client.listClients(page, call.metadata, call.options, done),
    ),
  itemsOf: ({ clients }) => clients,
  nameOf: ({ clientId }) => clientId,
}

const SESSIONS: Listing<admin.ListSessionsReply, admin.SessionState> = {
  ask: (address, page) =>
    askBroker(address, (client, call, done) =>
      client.listSessions(page, call.metadata, call.options, done),
    ),
  itemsOf: ({ sessions }) => sessions,
  nameOf: ({ clientId }) => clientId,
}

const SUBSCRIPTIONS: Listing<admin.ListSubscriptionsReply, admin.ClientSubscription> = {
  ask: (address, page) =>
    askBroker(address, (client, call, done) =>
      client.listSubscriptions(page, call.metadata, call.options, done),
    ),
  itemsOf: ({ subscriptions }) => subscriptions,
  nameOf: ({ clientId, filter }) => `${clientId}\0${filter}`,
}

const BRIDGES: Listing<admin.ListBridgesReply, admin.BridgeState> = {
  ask: (address, page) =>
    askBroker(address, (client, call, done) =>
      client.listBridges(page, call.metadata, call.options, done),
    ),
  itemsOf: ({ bridges }) => bridges,
  nameOf: ({ name }) => name,
}

const GROUPS: Listing<admin.ListGroupsReply, admin.GroupSummary> = {
  ask: (address, page) =>
    askBroker(address, (client, call, done) =>
      client.listGroups(page, call.metadata, call.options, done),
    ),
  itemsOf: ({ groups }) => groups,
  nameOf: ({ name }) => name,
}

const RETAINED: Listing<admin.ListRetainedReply, admin.RetainedMessage> = {
  ask: (address, page) =>
    askBroker(address, (client, call, done) =>
      client.listRetained(page, call.metadata, call.options, done),
    ),
  itemsOf: ({ messages }) => messages,
  nameOf: ({ address }) => address,
}

export function listClients(addresses: readonly string[], page: PageOptions) {
  return list(addresses, page, CLIENTS)
}

export function listSessions(addresses: readonly string[], page: PageOptions) {
  return list(addresses, page, SESSIONS)
}

export function listGroups(addresses: readonly string[], page: PageOptions) {
  return list(addresses, page, GROUPS)
}

export function listSubscriptions(addresses: readonly string[], page: PageOptions) {
  return list(addresses, page, SUBSCRIPTIONS)
}

export function listRetained(addresses: readonly string[], page: PageOptions) {
  return list(addresses, page, RETAINED)
}

export function listBridges(addresses: readonly string[], page: PageOptions) {
  return list(addresses, page, BRIDGES)
}

/** The first names of all brokers together. Throws UNREACHABLE when a broker does not answer: half a list would lie. */
async function list<Reply extends { readonly nodeId: string }, Item>(
  addresses: readonly string[],
  page: PageOptions,
  { ask, itemsOf, nameOf }: Listing<Reply, Item>,
): Promise<Listed<Item>> {
  const brokers = await brokersOf(addresses)
  const replies = await Promise.all(brokers.map(({ address }) => ask(address, page)))
  const pages = replies.map((reply, at) => {
    if (reply === undefined) throw unreachable(brokers[at]?.node ?? '')
    return { node: reply.nodeId, items: itemsOf(reply) }
  })
  return joinPages(pages, page.limit, nameOf)
}

/** False: it is not connected anywhere. */
export async function kickClient(addresses: readonly string[], clientId: string): Promise<boolean> {
  const brokers = await brokersOf(addresses)
  const replies = await Promise.all(
    brokers.map(({ address }) =>
      askBroker<admin.ExistedReply>(address, (client, call, done) =>
        client.kickClient({ clientId }, call.metadata, call.options, done),
      ),
    ),
  )
  return replies.some((reply) => reply?.existed === true)
}

/** False: there is no such session. */
export async function deleteSession(
  addresses: readonly string[],
  clientId: string,
): Promise<boolean> {
  const reply = await askAny<admin.ExistedReply>(addresses, (address) =>
    askBroker(address, (client, call, done) =>
      client.deleteSession({ clientId }, call.metadata, call.options, done),
    ),
  )
  return reply.existed
}

export function getRetained(
  addresses: readonly string[],
  address: string,
): Promise<admin.RetainedMessage> {
  return askAny(addresses, (broker) =>
    askBroker(broker, (client, call, done) =>
      client.getRetained({ address }, call.metadata, call.options, done),
    ),
  )
}

/** False: nothing was retained for it. */
export async function deleteRetained(
  addresses: readonly string[],
  address: string,
): Promise<boolean> {
  const reply = await askAny<admin.ExistedReply>(addresses, (broker) =>
    askBroker(broker, (client, call, done) =>
      client.deleteRetained({ address }, call.metadata, call.options, done),
    ),
  )
  return reply.existed
}

/** What any broker can answer. Throws UNREACHABLE when none does. */
export async function askAny<Reply>(
  addresses: readonly string[],
  ask: (address: string) => Promise<Reply | undefined>,
): Promise<Reply> {
  for (const { address } of await brokersOf(addresses)) {
    const reply = await ask(address)
    if (reply !== undefined) return reply
  }
  throw unreachable('any broker')
}

async function brokersOf(
  addresses: readonly string[],
): Promise<readonly { readonly node: string; readonly address: string }[]> {
  const status = await leaderStatus(addresses)
  if (status === undefined) {
    const message = `no Placement Center node leads and answers at ${addresses.join(', ')}`
    throw new CliError('NO_LEADER', { message, exit: exitCodes.tryAgain })
  }
  return (status.metadata?.nodes ?? []).map(({ nodeId, grpcAddress }) => ({
    node: nodeId,
    address: grpcAddress,
  }))
}

function unreachable(node: string): CliError {
  const message = `${node} does not answer`
  return new CliError('UNREACHABLE', { message, exit: exitCodes.unreachable })
}
