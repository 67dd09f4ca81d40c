/**
 * What operators see of the whole cluster, through this broker: it asks every broker, itself included, by the
 * calls that the command line uses, and joins what they answer. Half a list would lie, so that a broker that
 * does not answer fails the call.
 */
import {
  type ClientUnaryCall,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { admin, control, type JoinedPage, joinPages, type placement } from '@robust/proto'
import { BrokerError } from '../core/errors.ts'
import { CHANNEL_OPTIONS } from './channel-options.ts'
import type { MetadataCache } from './metadata-cache.ts'
import type { CallObserver } from './placement-client.ts'

const TIMEOUT_MS = 5_000
const NO_METADATA = new Metadata()

export interface Page {
  /** What a name must contain; of retained messages a filter. Empty: everything. */
  readonly filter: string
  /** Only what sorts after it. */
  readonly after: string
  readonly limit: number
}

interface Broker {
  readonly address: string
  readonly admin: admin.BrokerAdminClient
  readonly control: control.BrokerControlClient
}

type Done<T> = (error: ServiceError | null, reply: T) => void
type Listing<Reply> = (
  client: admin.BrokerAdminClient,
  page: Page,
  done: Done<Reply>,
) => ClientUnaryCall

export class ClusterAdministration {
  readonly #metadata: MetadataCache
  readonly #observe: CallObserver
  readonly #brokers = new Map<string, Broker>()

  constructor(metadata: MetadataCache, observe: CallObserver) {
    this.#metadata = metadata
    this.#observe = observe
  }

  clients(page: Page): Promise<JoinedPage<admin.Client>> {
    return this.#list<admin.ListClientsReply, admin.Client>(
      page,
      (client, asked, done) => client.listClients(asked, NO_METADATA, deadline(), done),
      { itemsOf: ({ clients }) => clients, nameOf: ({ clientId }) => clientId },
    )
  }

  sessions(page: Page): Promise<JoinedPage<admin.SessionState>> {
    return this.#list<admin.ListSessionsReply, admin.SessionState>(
      page,
      (client, asked, done) => client.listSessions(asked, NO_METADATA, deadline(), done),
      { itemsOf: ({ sessions }) => sessions, nameOf: ({ clientId }) => clientId },
    )
  }

  subscriptions(page: Page): Promise<JoinedPage<admin.ClientSubscription>> {
    return this.#list<admin.ListSubscriptionsReply, admin.ClientSubscription>(
      page,
      (client, asked, done) => client.listSubscriptions(asked, NO_METADATA, deadline(), done),
      {
        itemsOf: ({ subscriptions }) => subscriptions,
        nameOf: ({ clientId, filter }) => `${clientId}\0${filter}`,
      },
    )
  }

  retained(page: Page): Promise<JoinedPage<admin.RetainedMessage>> {
    return this.#list<admin.ListRetainedReply, admin.RetainedMessage>(
      page,
      (client, asked, done) => client.listRetained(asked, NO_METADATA, deadline(), done),
      { itemsOf: ({ messages }) => messages, nameOf: ({ address }) => address },
    )
  }

  bridges(page: Page): Promise<JoinedPage<admin.BridgeState>> {
    return this.#list<admin.ListBridgesReply, admin.BridgeState>(
      page,
      (client, asked, done) => client.listBridges(asked, NO_METADATA, deadline(), done),
      { itemsOf: ({ bridges }) => bridges, nameOf: ({ name }) => name },
    )
  }

  /** False: it is not connected anywhere. */
  async kick(clientId: string): Promise<boolean> {
    const replies = await this.#askAll<admin.ExistedReply>(({ admin: client }, done) =>
      client.kickClient({ clientId }, NO_METADATA, deadline(), done),
    )
    return replies.some(({ reply }) => reply.existed)
  }

  /** Throws NOT_FOUND. */
  inspect(node: string): Promise<control.InspectReply> {
    return this.#ask<control.InspectReply>(node, ({ control: client }, done) =>
      client.inspect({}, NO_METADATA, deadline(), done),
    )
  }

  nodes(): readonly placement.Node[] {
    return this.#metadata.nodes()
  }

  stop(): void {
    for (const broker of this.#brokers.values()) close(broker)
    this.#brokers.clear()
  }

  async #list<Reply, Item>(
    page: Page,
    listing: Listing<Reply>,
    { itemsOf, nameOf }: { itemsOf: (reply: Reply) => Item[]; nameOf: (item: Item) => string },
  ): Promise<JoinedPage<Item>> {
    const replies = await this.#askAll<Reply>(({ admin: client }, done) =>
      listing(client, page, done),
    )
    const pages = replies.map(({ node, reply }) => ({ node, items: itemsOf(reply) }))
    return joinPages(pages, page.limit, nameOf)
  }

  #askAll<Reply>(
    invoke: (broker: Broker, done: Done<Reply>) => ClientUnaryCall,
  ): Promise<{ readonly node: string; readonly reply: Reply }[]> {
    return Promise.all(
      this.nodes().map(async ({ nodeId: node }) => ({
        node,
        reply: await this.#ask(node, invoke),
      })),
    )
  }

  #ask<Reply>(
    node: string,
    invoke: (broker: Broker, done: Done<Reply>) => ClientUnaryCall,
  ): Promise<Reply> {
    const broker = this.#broker(node)
    return new Promise((resolve, reject) => {
      invoke(broker, (error, reply) => {
        if (error === null) resolve(reply)
        else reject(failure(node, error))
      })
    })
  }

  #broker(node: string): Broker {
    const address = this.#metadata.grpcAddress(node)
    if (address === undefined) throw new BrokerError('NOT_FOUND', `there is no broker ${node}`)
    const known = this.#brokers.get(node)
    if (known?.address === address) return known
    if (known !== undefined) close(known)
    const options = { ...CHANNEL_OPTIONS, interceptors: [this.#observe] }
    const insecure = credentials.createInsecure()
    const broker = {
      address,
      admin: new admin.BrokerAdminClient(address, insecure, options),
      control: new control.BrokerControlClient(address, insecure, options),
    }
    this.#brokers.set(node, broker)
    return broker
  }
}

function close({ admin: client, control: other }: Broker): void {
  client.close()
  other.close()
}

function failure(node: string, error: ServiceError): BrokerError {
  if (error.code === status.NOT_FOUND) return new BrokerError('NOT_FOUND', error.details)
  return new BrokerError('UNAVAILABLE', `${node} does not answer: ${error.details}`, {
    cause: error,
  })
}

function deadline(): { deadline: number } {
  return { deadline: Date.now() + TIMEOUT_MS }
}
