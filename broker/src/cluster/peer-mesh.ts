/**
 * The links to all other brokers: one for each pair, dialled by the broker whose id sorts first, made
 * again when it breaks, dropped when the peer leaves the cluster. Implements what the core asks of peers.
 */
import type { broker } from '@robust/proto'
import type { GroupDelivery } from '../core/groups/hosted-groups.ts'
import type { Message } from '../core/message.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Delivery, SessionAddress } from '../core/ports/connections.ts'
import type { Peers, Place, PublishItem, PublishReply } from '../core/ports/peers.ts'
import type { FilterChange, Router } from '../core/router.ts'
import type { ShardReply, ShardRequest } from '../core/shard-requests.ts'
import { Announcements } from './announcements.ts'
import type { MetadataCache } from './metadata-cache.ts'
import { PeerLink, type PeerStream } from './peer-link.ts'
import { dialPeer, type PeerIdentity } from './peer-stream.ts'
import {
  fromWireDelivery,
  fromWirePublish,
  fromWireReply,
  fromWireRequest,
  toWireDelivery,
  toWirePublish,
  toWireReply,
  toWireRequest,
} from './wire.ts'
import { fromWireGroupMessage, toWireGroupMessage } from './wire-groups.ts'
import { fromWireAddress, toWireAddress } from './wire-values.ts'

/** What a peer asks of this broker. */
export interface PeerHandlers {
  publish(item: PublishItem, reply: (reply: PublishReply) => void): void
  /** `signal`: whoever asked has given up, or is gone. */
  request(
    shard: number,
    request: ShardRequest,
    signal: AbortSignal | undefined,
  ): Promise<ShardReply>
  push(to: SessionAddress, deliveries: readonly Delivery[]): void
  pushShared(to: SessionAddress, deliveries: readonly GroupDelivery[]): void
  evict(to: SessionAddress): void
  acknowledged(to: SessionAddress, offsets: readonly number[]): void
  /** A new stream is up. */
  linked(node: string): void
  /** A stream is up or down. */
  changed(): void
}

export interface PeerMeshOptions {
  readonly clusterId: () => string
  readonly incarnation: string
  readonly nodeEpoch: () => number
  readonly metadata: MetadataCache
  readonly router: Router
  readonly clock: Clock
  /** Shards served here, with their filters, for a peer that has just been reached. */
  readonly hostedFilters: () => { shard: number; epoch: number; filters: readonly string[] }[]
  readonly handlers: PeerHandlers
}

const PROTOCOL_VERSION = 1
const NOWHERE: readonly Place[] = []
const REDIAL_MS = 150

interface Peer {
  readonly node: string
  readonly nodeEpoch: number
  link: PeerLink | undefined
  /** Under way. */
  dialling: AbortController | undefined
  redial: NodeJS.Timeout | undefined
  /** It has told all its filters. */
  synced: boolean
}

export class PeerMesh implements Peers {
  readonly #options: PeerMeshOptions
  readonly #peers = new Map<string, Peer>()
  readonly #announcements: Announcements
  /** Streams accepted from brokers that this one has not heard of yet. */
  readonly #early = new Set<PeerLink>()
  readonly #dialled = new Map<PeerLink, Peer>()
  /** Requests of the other side that may wait for long, by their id. */
  readonly #asked = new Map<PeerLink, Map<number, AbortController>>()
  #syncWaiters: (() => void)[] = []
  #stopped = false

  /** Peers that have said that they leave, by registration. */
  readonly #leaving = new Map<string, number>()

  constructor(options: PeerMeshOptions) {
    this.#options = options
    this.#announcements = new Announcements(options.clock)
  }

  /** The members have changed. */
  changed(): void {
    if (this.#stopped) return
    const members = this.#options.metadata.peerNodes()
    for (const { nodeId, nodeEpoch } of members) {
      // It is back under another registration, and may acknowledge again.
      if ((this.#leaving.get(nodeId) ?? nodeEpoch) < nodeEpoch) this.#leaving.delete(nodeId)
    }
    for (const peer of [...this.#peers.values()]) {
      const member = members.find((node) => node.nodeId === peer.node)
      if (member === undefined || member.nodeEpoch !== peer.nodeEpoch) this.#drop(peer)
    }
    for (const { nodeId, nodeEpoch } of members) {
      if (this.#peers.has(nodeId)) continue
      const peer: Peer = {
        node: nodeId,
        nodeEpoch,
        link: undefined,
        dialling: undefined,
        redial: undefined,
        synced: false,
      }
      this.#peers.set(nodeId, peer)
      if (this.#options.metadata.self < nodeId) this.#dial(peer)
    }
    this.#announcements.members([...this.#peers.keys()], (name) => this.#leaving.has(name))
    for (const link of [...this.#early]) if (link.hello) this.#greeted(link, link.hello)
    this.#checkSynced()
  }

  /** This broker has another registration: every stream is made again under it. */
  restart(): void {
    for (const peer of [...this.#peers.values()]) this.#drop(peer)
    for (const link of [...this.#early]) link.close()
    this.changed()
  }

  /** A peer has dialled. */
  accept(stream: PeerStream): void {
    this.#open(stream)
  }

  /** Resolves when every member has told its filters: from then on no publish here misses a subscriber. */
  synced(): Promise<void> {
    return new Promise((resolve) => {
      this.#syncWaiters.push(resolve)
      this.#checkSynced()
    })
  }

  linked(node: string): boolean {
    return this.#linkOf(node) !== undefined
  }

  publish(
    node: string,
    item: PublishItem,
    onReply: ((reply: PublishReply | undefined) => void) | undefined,
  ): boolean {
    const link = this.#linkOf(node)
    if (link === undefined) return false
    if (onReply === undefined) {
      if (link.crowded) return false
      const { message, live, places } = item
      if (live && places.length === 0 && message.guarantee === 0) link.sendLive(message)
      else link.send({ $case: 'publish', value: toWirePublish(item) })
      return true
    }
    const value = toWirePublish(item)
    link.request({ $case: 'publish', value }, (kind) => {
      onReply(kind?.$case === 'publishReply' ? kind.value : undefined)
    })
    return true
  }

  request(
    node: string,
    shard: number,
    { request, signal }: { request: ShardRequest; signal?: AbortSignal | undefined },
  ): Promise<ShardReply | undefined> {
    const link = this.#linkOf(node)
    if (link === undefined) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      const value = toWireRequest(shard, request)
      const giveUp = (): void => link.send({ $case: 'giveUp', value: { id } })
      const id = link.request({ $case: 'shardRequest', value }, (kind) => {
        signal?.removeEventListener('abort', giveUp)
        resolve(kind?.$case === 'shardReply' ? fromWireReply(kind.value) : undefined)
      })
      if (id !== 0) signal?.addEventListener('abort', giveUp, { once: true })
    })
  }

  /** Resolves when every broker that can be reached knows the metadata up to the index. */
  async allKnow(index: number): Promise<void> {
    const links = [...this.#peers.values()].flatMap(({ link }) => link ?? [])
    const asked = links.map(
      (link) =>
        new Promise<void>((resolve) => {
          link.request({ $case: 'knowsMetadata', value: { index } }, () => resolve())
        }),
    )
    await Promise.all(asked)
  }

  acknowledge(node: string, to: SessionAddress, offsets: readonly number[]): void {
    const value = { ...toWireAddress(to), offsets: [...offsets] }
    this.#linkOf(node)?.send({ $case: 'sessionAcknowledge', value })
  }

  push(node: string, to: SessionAddress, deliveries: readonly Delivery[]): void {
    const messages = deliveries.map((delivery) => toWireDelivery(delivery))
    this.#linkOf(node)?.send({ $case: 'sessionPush', value: { ...toWireAddress(to), messages } })
  }

  pushShared(node: string, to: SessionAddress, deliveries: readonly GroupDelivery[]): void {
    const messages = deliveries.map((delivery) => toWireGroupMessage(delivery))
    this.#linkOf(node)?.send({ $case: 'groupPush', value: { ...toWireAddress(to), messages } })
  }

  /** Resolves when the peer has closed the connection, or the stream breaks. */
  evict(node: string, to: SessionAddress): Promise<void> {
    const link = this.#linkOf(node)
    if (link === undefined) return Promise.resolve()
    return new Promise((resolve) => {
      link.request({ $case: 'sessionEvict', value: toWireAddress(to) }, () => resolve())
    })
  }

  announceLive(change: FilterChange): Promise<void> {
    if (change.added.length + change.removed.length > 0) {
      this.#announce(() => ({ $case: 'liveFilters', value: wireChange(change) }))
    }
    return this.#announcements.settled()
  }

  announceShard(shard: number, epoch: number, change: FilterChange): Promise<void> {
    this.#options.router.changeShardFilters(shard, epoch, change)
    if (change.reset || change.added.length + change.removed.length > 0) {
      const value = { shard, epoch, ...wireChange(change) }
      this.#announce(() => ({ $case: 'shardFilters', value }))
    }
    return this.#announcements.settled()
  }

  /** This broker has closed its clients' connections, and acknowledges nothing from now on. */
  sayLeaving(): void {
    for (const { link } of this.#peers.values()) link?.send({ $case: 'leaving', value: {} })
  }

  stop(): void {
    this.#stopped = true
    for (const peer of [...this.#peers.values()]) this.#drop(peer)
    for (const link of [...this.#early]) link.close()
  }

  #linkOf(node: string): PeerLink | undefined {
    const peer = this.#peers.get(node)
    return peer?.link?.closed === false ? peer.link : undefined
  }

  #announce(build: () => NonNullable<broker.PeerItem['kind']>): void {
    const sequence = this.#announcements.next()
    for (const peer of this.#peers.values()) {
      peer.link?.request(build(), (kind) => {
        if (kind !== undefined) this.#announcements.confirm(peer.node, sequence)
      })
    }
    this.#announcements.members([...this.#peers.keys()])
  }

  #dial(peer: Peer): void {
    if (this.#stopped || this.#peers.get(peer.node) !== peer) return
    const address = this.#options.metadata.grpcAddress(peer.node)
    if (address === undefined) return
    const dialling = new AbortController()
    peer.dialling = dialling
    const { signal } = dialling
    dialPeer({ address, node: peer.node, identity: this.identity, signal }).then(
      (stream) => {
        peer.dialling = undefined
        if (signal.aborted) stream.end()
        else this.#dialled.set(this.#open(stream), peer)
      },
      () => {
        peer.dialling = undefined
        if (!signal.aborted) this.#dialLater(peer)
      },
    )
  }

  /** Of this broker, as its links are opened with. */
  get identity(): PeerIdentity {
    const { clusterId, incarnation, metadata } = this.#options
    return { clusterId: clusterId(), senderId: metadata.self, incarnation }
  }

  #dialLater(peer: Peer): void {
    clearTimeout(peer.redial)
    peer.redial = setTimeout(() => {
      if (peer.link === undefined && peer.dialling === undefined) this.#dial(peer)
    }, REDIAL_MS)
  }

  #open(stream: PeerStream): PeerLink {
    const link = new PeerLink(stream, {
      item: (from, item) => this.#item(from, item),
      live: (from, message) => this.#live(from, message),
      closed: (closed) => this.#closed(closed),
    })
    const { clusterId, incarnation, nodeEpoch, metadata } = this.#options
    const hello = {
      clusterId: clusterId(),
      nodeId: metadata.self,
      incarnation,
      nodeEpoch: nodeEpoch(),
      protocolVersion: PROTOCOL_VERSION,
    }
    link.send({ $case: 'hello', value: hello })
    this.#early.add(link)
    return link
  }

  #greeted(link: PeerLink, hello: broker.Hello): void {
    link.hello = hello
    const foreign =
      hello.clusterId !== this.#options.clusterId() || hello.protocolVersion !== PROTOCOL_VERSION
    if (foreign) {
      link.close()
      return
    }
    const peer = this.#peers.get(hello.nodeId)
    // A broker that registered just now may dial before the news of it arrives here: wait for the news.
    if (peer === undefined || hello.nodeEpoch > peer.nodeEpoch) return
    this.#early.delete(link)
    if (hello.nodeEpoch < peer.nodeEpoch) {
      link.close()
      return
    }
    const before = peer.link
    peer.link = link
    before?.close()
    this.#tellAll(peer, link)
    this.#options.handlers.linked(peer.node)
    this.#options.handlers.changed()
  }

  /** Everything a peer must know, live filters last: they say that it is complete. */
  #tellAll(peer: Peer, link: PeerLink): void {
    const sequence = this.#announcements.newest
    for (const { shard, epoch, filters } of this.#options.hostedFilters()) {
      const value = { shard, epoch, reset: true, added: [...filters], removed: [] }
      link.request({ $case: 'shardFilters', value }, () => undefined)
    }
    const value = { reset: true, added: this.#options.router.liveFilters(), removed: [] }
    link.request({ $case: 'liveFilters', value }, (kind) => {
      if (kind !== undefined) this.#announcements.confirm(peer.node, sequence)
    })
  }

  #closed(link: PeerLink): void {
    this.#early.delete(link)
    // Nobody waits for these answers any more.
    for (const asker of this.#asked.get(link)?.values() ?? []) asker.abort()
    this.#asked.delete(link)
    const dialled = this.#dialled.get(link)
    this.#dialled.delete(link)
    const lost = [...this.#peers.values()].find((peer) => peer.link === link)
    if (lost !== undefined) lost.link = undefined
    if (this.#stopped) return
    if (lost !== undefined) this.#options.handlers.changed()
    // The other side dials again what it had dialled.
    if (dialled === undefined || this.#peers.get(dialled.node) !== dialled) return
    this.#dialLater(dialled)
  }

  #drop(peer: Peer): void {
    this.#peers.delete(peer.node)
    clearTimeout(peer.redial)
    peer.link?.close()
    peer.dialling?.abort()
    this.#options.router.forgetPeer(peer.node)
  }

  #live(link: PeerLink, message: Message): void {
    const node = link.hello?.nodeId
    if (node === undefined || this.#peers.get(node)?.link !== link) return
    this.#options.handlers.publish({ message, live: true, places: NOWHERE }, () => undefined)
  }

  #item(link: PeerLink, item: broker.PeerItem): void {
    const { kind, id } = item
    if (kind === undefined) return
    if (kind.$case === 'hello') {
      this.#greeted(link, kind.value)
      return
    }
    const node = link.hello?.nodeId
    const peer = node === undefined ? undefined : this.#peers.get(node)
    if (peer === undefined || peer.link !== link) return
    const { handlers, router } = this.#options
    switch (kind.$case) {
      case 'publish':
        handlers.publish(fromWirePublish(kind.value), ({ refused, full, unkept }) => {
          if (id === 0) return
          const value = { refused: [...refused], full: [...full], unkept }
          link.send({ $case: 'publishReply', value }, id)
        })
        return
      case 'sessionPush':
        handlers.push(fromWireAddress(kind.value), kind.value.messages.map(fromWireDelivery))
        return
      case 'groupPush': {
        const deliveries = kind.value.messages.map(fromWireGroupMessage)
        handlers.pushShared(fromWireAddress(kind.value), deliveries)
        return
      }
      case 'sessionAcknowledge':
        handlers.acknowledged(fromWireAddress(kind.value), kind.value.offsets)
        return
      case 'shardRequest':
        void this.#answer(link, id, kind.value)
        return
      case 'giveUp':
        this.#asked.get(link)?.get(kind.value.id)?.abort()
        return
      case 'knowsMetadata':
        void this.#options.metadata
          .reached(kind.value.index)
          .then(() => link.send({ $case: 'done', value: {} }, id))
        return
      case 'liveFilters':
        router.changePeerFilters(peer.node, kind.value)
        if (kind.value.reset) {
          peer.synced = true
          this.#checkSynced()
        }
        break
      case 'shardFilters':
        router.changeShardFilters(kind.value.shard, kind.value.epoch, kind.value)
        break
      case 'leaving':
        this.#leaving.set(peer.node, peer.nodeEpoch)
        return
      case 'sessionEvict':
        handlers.evict(fromWireAddress(kind.value))
        break
      default:
        return
    }
    link.send({ $case: 'done', value: {} }, id)
  }

  async #answer(link: PeerLink, id: number, wire: broker.ShardRequest): Promise<void> {
    const request = fromWireRequest(wire)
    const asked = mayWait(wire) ? entryOf(this.#asked, link) : undefined
    const asker = asked && new AbortController()
    if (asker !== undefined) asked?.set(id, asker)
    const reply: ShardReply =
      request === undefined
        ? { status: 'refused', detail: 'unknown request' }
        : await this.#options.handlers.request(wire.shard, request, asker?.signal)
    asked?.delete(id)
    link.send({ $case: 'shardReply', value: toWireReply(reply) }, id)
  }

  #checkSynced(): void {
    for (const peer of this.#peers.values()) if (!peer.synced) return
    const waiters = this.#syncWaiters
    this.#syncWaiters = []
    for (const wake of waiters) wake()
  }
}

/** Its answer may take long, by what is asked. */
function mayWait({ kind }: broker.ShardRequest): boolean {
  return kind?.$case === 'queue' && kind.value.request?.$case === 'receive'
}

function entryOf(
  asked: Map<PeerLink, Map<number, AbortController>>,
  link: PeerLink,
): Map<number, AbortController> {
  let entry = asked.get(link)
  if (entry === undefined) {
    entry = new Map()
    asked.set(link, entry)
  }
  return entry
}

function wireChange(change: FilterChange): broker.LiveFilters {
  return { reset: change.reset, added: [...change.added], removed: [...change.removed] }
}
