/** What operators look at and end, over the parts of a broker: each tells of what it has, a page at a time. */
import type { HostedShards } from './core/hosted-shard.ts'
import type { Message, Subscription } from './core/message.ts'
import type { Messaging } from './core/messaging.ts'
import type { GroupAdministration, ListedGroup } from './core/ports/group-administration.ts'
import type { ConnectedClient, ProtocolServer } from './protocols/shared/protocol-server.ts'

export interface Page {
  /** What a name must contain; of retained messages a filter. Empty: everything. */
  readonly filter: string
  /** Only what sorts after it. */
  readonly after: string
  readonly limit: number
}

export interface ListedSession {
  readonly clientId: string
  /** Undefined: it is away. */
  readonly connectedTo: string | undefined
  /** Wall clock, ms; 0 while it is connected. */
  readonly awaySinceMs: number
  readonly expirySeconds: number
  readonly subscriptions: number
  readonly queued: number
  readonly shard: number
}

export interface ListedSubscription extends Subscription {
  readonly clientId: string
}

interface AdministrationOptions {
  readonly protocols: readonly ProtocolServer[]
  readonly hosted: HostedShards
  readonly messaging: Messaging
}

export class Administration {
  readonly #options: AdministrationOptions

  constructor(options: AdministrationOptions) {
    this.#options = options
  }

  clients(page: Page): readonly ConnectedClient[] {
    return pageOf(this.#clients(), page, ({ clientId }) => clientId)
  }

  *#clients(): Generator<ConnectedClient> {
    for (const protocol of this.#options.protocols) yield* protocol.clients()
  }

  kick(clientId: string): boolean {
    return this.#options.protocols.some((protocol) => protocol.kick(clientId))
  }

  /** Of all protocols. Rejects with BrokerError UNAVAILABLE. */
  async listGroups(page: Page): Promise<readonly ListedGroup[]> {
    const listed = await Promise.all(this.groups().map((groups) => groups.list()))
    return pageOf(listed.flat(), page, ({ name }) => name)
  }

  groups(): readonly GroupAdministration[] {
    return this.#options.protocols.flatMap(({ groups }) => groups ?? [])
  }

  sessions(page: Page): readonly ListedSession[] {
    return pageOf(this.#sessions(), page, ({ clientId }) => clientId)
  }

  *#sessions(): Generator<ListedSession> {
    for (const { shard, sessions } of this.#options.hosted.all()) {
      for (const session of sessions.durable()) {
        yield {
          clientId: session.name,
          connectedTo: session.connected?.node,
          awaySinceMs: session.connected === undefined ? session.detachedAtMs : 0,
          expirySeconds: session.expirySeconds,
          subscriptions: session.subscriptions.size,
          queued: session.inbox.depth,
          shard,
        }
      }
    }
  }

  endSession(clientId: string): Promise<boolean> {
    return this.#options.messaging.endSession(clientId)
  }

  subscriptions(page: Page): readonly ListedSubscription[] {
    return pageOf(this.#subscriptions(), page, subscriptionName)
  }

  *#subscriptions(): Generator<ListedSubscription> {
    for (const { clientId, subscriptions } of this.#clients()) {
      for (const subscription of subscriptions) yield { clientId, ...subscription }
    }
    for (const { sessions } of this.#options.hosted.all()) {
      for (const { name: clientId, connected, subscriptions } of sessions.durable()) {
        // Of those that are connected their brokers tell.
        if (connected !== undefined) continue
        for (const subscription of subscriptions.values()) yield { clientId, ...subscription }
      }
    }
  }

  /** Without payloads. */
  async retained({ filter, after, limit }: Page): Promise<readonly Message[]> {
    const addresses: { address: string; shard: number }[] = []
    for (const { shard, retained } of this.#options.hosted.all()) {
      for (const address of retained.addresses(filter === '' ? '#' : filter)) {
        if (address > after) addresses.push({ address, shard })
      }
    }
    addresses.sort((a, b) => (a.address < b.address ? -1 : 1))
    const found: Message[] = []
    for (const { address } of addresses.slice(0, limit)) {
      const message = await this.retainedAt(address)
      if (message !== undefined) found.push(message)
    }
    return found
  }

  async retainedAt(address: string): Promise<Message | undefined> {
    const [message] = await this.#options.messaging.retained(address)
    return message
  }

  /** False: nothing was retained for the address. */
  async forgetRetained(address: string): Promise<boolean> {
    const existed = (await this.retainedAt(address)) !== undefined
    if (existed) await this.#options.messaging.forgetRetained(address)
    return existed
  }
}

export function subscriptionName({ clientId, filter }: ListedSubscription): string {
  return `${clientId}\0${filter}`
}

/** In the order of their names. All are looked at, but only those of the page are kept. */
function pageOf<T>(all: Iterable<T>, { filter, after, limit }: Page, nameOf: (item: T) => string) {
  const found: { readonly name: string; readonly item: T }[] = []
  for (const item of all) {
    const name = nameOf(item)
    if (name <= after || (filter !== '' && !name.includes(filter))) continue
    found.push({ name, item })
    if (found.length < limit * 2) continue
    found.sort(byName)
    found.length = limit
  }
  return found
    .sort(byName)
    .slice(0, limit)
    .map(({ item }) => item)
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1
}
