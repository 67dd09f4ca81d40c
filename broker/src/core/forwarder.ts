/**
 * Carries published messages to where they must go besides the live subscribers here: to brokers with live
 * subscribers, and to the owners of shards. A message goes to each broker once.
 *
 * Per broker there is a lane: first in, first out, and what was sent stays in it until the peer has answered.
 * A broken stream sends the lane again. A shard without an owner holds its messages, in order, until it has
 * one. So nothing that a publisher was promised is lost, and it may arrive twice.
 */
import { appendTo, type HostedShards } from './hosted-shard.ts'
import { SHARD_RETRY_MS } from './limits.ts'
import { type Message, ownCopy, type Receipt } from './message.ts'
import type { Clock, Timer } from './ports/clock.ts'
import type { Directory } from './ports/directory.ts'
import type { Peers, Place, PublishItem, PublishReply } from './ports/peers.ts'
import type { Route } from './router.ts'

/** Time between two tries to put a message into a full queue, ms. */
const FULL_RETRY_MS = 500

export interface ForwarderOptions {
  readonly directory: Directory
  readonly hosted: HostedShards
  readonly peers: Peers
  readonly clock: Clock
}

export interface ForwardOptions {
  readonly receipt: Receipt | undefined
  /** Where the message is kept as the retained one; -1 nowhere. */
  readonly retainedShard: number
}

/** One published message and how many places have not confirmed it. */
interface Pending {
  readonly message: Message
  receipt: Receipt | undefined
  remaining: number
  /** It was to be retained, and was not kept. */
  isUnkept: boolean
}

interface Entry extends PublishItem {
  readonly pending: Pending
}

interface Lane {
  readonly node: string
  readonly unsent: Entry[]
  readonly sent: Set<Entry>
}

interface Held {
  readonly pending: Pending
  readonly place: Place
}

export class Forwarder {
  readonly #options: ForwarderOptions
  readonly #lanes = new Map<string, Lane>()
  readonly #held = new Map<number, Held[]>()
  /** At-least-once messages that are not confirmed and can be refused. */
  readonly #refusable = new Set<Pending>()
  #retry: Timer | undefined
  /** For queues that take no more, from publishers that cannot be told so. */
  readonly #full: Held[] = []
  #fullRetry: Timer | undefined
  /** Messages that were dropped since a peer was not reachable, or a queue full, and nobody could be told. */
  dropped = 0

  constructor(options: ForwarderOptions) {
    this.#options = options
  }

  /** Messages that wait for a shard to have an owner, or a queue to have room. */
  get held(): number {
    let count = this.#full.length
    for (const held of this.#held.values()) count += held.length
    return count
  }

  /** Settles the receipt when every place has confirmed the message. */
  forward(message: Message, route: Route, more: ForwardOptions): void {
    const { receipt, retainedShard } = more
    if (message.guarantee === 0) this.#sendLoosely(message, route)
    const shards = message.guarantee === 0 ? [] : route.shards
    const peers = message.guarantee === 0 ? [] : route.peers
    const groups = message.guarantee === 0 ? [] : route.groups
    const { logs, queues } = route
    const places = shards.length + groups.length + logs.length + queues.length
    if (places + peers.length === 0 && retainedShard < 0) {
      receipt?.settle('accepted')
      return
    }
    const own = ownCopy(message)
    const pending: Pending = { message: own, receipt, remaining: 1, isUnkept: false }
    if (receipt?.refusable === true && message.guarantee === 1) this.#refusable.add(pending)
    const byNode = new Map<string, Place[]>(peers.map((peer) => [peer, []]))
    for (const shard of shards) this.#place({ kind: 'sessions', shard }, pending, byNode)
    for (const shard of groups) this.#place({ kind: 'groups', shard }, pending, byNode)
    for (const { shard, log } of logs) this.#place({ kind: 'log', shard, log }, pending, byNode)
    for (const queue of queues) this.#place({ kind: 'queue', ...queue }, pending, byNode)
    for (const [node, there] of byNode) {
      const live = peers.includes(node)
      this.#enqueue(node, { pending, message: pending.message, live, places: there })
    }
    if (retainedShard >= 0) {
      this.#dispatch({ pending, place: { kind: 'retained', shard: retainedShard } })
    }
    this.#confirm(pending)
  }

  /**
   * Storage is full: publishers are told so instead of waiting. What they sent stays here and may still be
   * kept when there is room, as with any message whose acknowledgement was lost; not so exactly-once ones, which wait.
   */
  refuseWaiting(): void {
    for (const pending of this.#refusable) {
      pending.receipt?.settle('refused')
      pending.receipt = undefined
    }
    this.#refusable.clear()
  }

  /** Owners or members have changed, or a stream is up again. */
  changed(): void {
    const { directory } = this.#options
    const members = new Set(directory.peers())
    for (const lane of this.#lanes.values()) {
      if (members.has(lane.node)) this.#flush(lane)
      else this.#retire(lane)
    }
    this.#redispatch()
  }

  stop(): void {
    this.#retry?.cancel()
    this.#fullRetry?.cancel()
  }

  #sendLoosely(message: Message, route: Route): void {
    const { groups, peers } = route
    if (groups.length > 0) this.#sendToGroups(message, route)
    for (const peer of peers) {
      const item = { message, live: true, places: [] }
      if (!this.#options.peers.publish(peer, item, undefined)) this.dropped++
    }
  }

  /** Whose owner is not known now, or is gone, does not get it. */
  #sendToGroups(message: Message, { groups }: Route): void {
    const { directory, hosted, peers } = this.#options
    for (const shard of groups) {
      const place = { kind: 'groups', shard } as const
      const here = hosted.get(shard)
      if (here !== undefined) {
        appendTo(here, { message: ownCopy(message), place }, () => undefined)
        continue
      }
      const owner = directory.owner(shard)
      const item = { message, live: false, places: [place] }
      if (owner === undefined || !peers.publish(owner.node, item, undefined)) this.dropped++
    }
  }

  /** Hands the message to a shard here, or notes it for the shard's owner. */
  #place(place: Place, pending: Pending, byNode: Map<string, Place[]>): void {
    const { directory } = this.#options
    const { shard } = place
    const owner = directory.owner(shard)
    const remote = owner !== undefined && owner.node !== directory.self
    if (!remote || this.#held.has(shard) || this.#options.hosted.get(shard) !== undefined) {
      this.#dispatch({ pending, place })
      return
    }
    const places = byNode.get(owner.node)
    if (places === undefined) byNode.set(owner.node, [place])
    else places.push(place)
  }

  #dispatch(entry: Held): void {
    const { directory, hosted } = this.#options
    const { pending, place } = entry
    const { shard } = place
    const waiting = this.#held.get(shard)
    if (waiting !== undefined) {
      pending.remaining++
      waiting.push(entry)
      return
    }
    pending.remaining++
    const stored = appendTo(hosted.get(shard), { message: pending.message, place }, (outcome) => {
      if (outcome === 'unkept') pending.isUnkept = true
      if (outcome === 'full') this.#isFull(entry)
      else if (outcome === 'lost') this.#hold(entry)
      else this.#confirm(pending)
    })
    if (stored) return
    const owner = directory.owner(shard)
    if (owner === undefined || owner.node === directory.self) {
      this.#hold(entry)
      return
    }
    pending.remaining--
    this.#enqueue(owner.node, { pending, message: pending.message, live: false, places: [place] })
  }

  /** The entry's count in `remaining` stays with it. */
  #hold(entry: Held): void {
    const { shard } = entry.place
    const waiting = this.#held.get(shard)
    if (waiting === undefined) this.#held.set(shard, [entry])
    else waiting.push(entry)
    this.#retry ??= this.#options.clock.after(SHARD_RETRY_MS, () => {
      this.#retry = undefined
      this.#redispatch()
    })
  }

  /** A queue takes no more. Who can be told so is told; others wait until there is room. */
  #isFull(entry: Held): void {
    const { pending } = entry
    const { receipt, message } = pending
    const mustWait = message.guarantee > 0 && receipt !== undefined && receipt.refusable !== true
    if (mustWait) {
      this.#full.push(entry)
      this.#fullRetry ??= this.#options.clock.after(FULL_RETRY_MS, () => this.#tryFull())
      return
    }
    pending.receipt = undefined
    this.#refusable.delete(pending)
    if (receipt === undefined) this.dropped++
    else receipt.settle('refused')
    this.#confirm(pending)
  }

  #tryFull(): void {
    this.#fullRetry = undefined
    for (const entry of this.#full.splice(0)) {
      entry.pending.remaining--
      this.#dispatch(entry)
    }
  }

  #redispatch(): void {
    const all = [...this.#held]
    this.#held.clear()
    for (const [, held] of all) {
      for (const entry of held) {
        entry.pending.remaining--
        this.#dispatch(entry)
      }
    }
  }

  #enqueue(node: string, entry: Entry): void {
    entry.pending.remaining++
    let lane = this.#lanes.get(node)
    if (lane === undefined) {
      lane = { node, unsent: [], sent: new Set() }
      this.#lanes.set(node, lane)
    }
    lane.unsent.push(entry)
    this.#flush(lane)
  }

  #flush(lane: Lane): void {
    let sent = 0
    for (const entry of lane.unsent) {
      const reply = (answer: PublishReply | undefined): void => this.#replied(lane, entry, answer)
      if (!this.#options.peers.publish(lane.node, entry, reply)) break
      lane.sent.add(entry)
      sent++
    }
    if (sent > 0) lane.unsent.splice(0, sent)
  }

  #replied(lane: Lane, entry: Entry, answer: PublishReply | undefined): void {
    if (!lane.sent.has(entry)) return
    if (answer === undefined) {
      // The stream broke. Every entry that was sent is told so; the whole lane goes again, in order.
      const again = [...lane.sent]
      lane.sent.clear()
      lane.unsent.unshift(...again)
      return
    }
    lane.sent.delete(entry)
    if (answer.unkept) entry.pending.isUnkept = true
    for (const [positions, then] of [
      [answer.refused, (held: Held) => this.#hold(held)],
      [answer.full, (held: Held) => this.#isFull(held)],
    ] as const) {
      for (const at of positions) {
        const place = entry.places[at]
        if (place === undefined) continue
        entry.pending.remaining++
        then({ pending: entry.pending, place })
      }
    }
    this.#confirm(entry.pending)
  }

  /** The broker is gone, and its live subscribers with it; shards have or will have other owners. */
  #retire(lane: Lane): void {
    this.#lanes.delete(lane.node)
    const entries = [...lane.sent, ...lane.unsent]
    lane.sent.clear()
    lane.unsent.length = 0
    for (const { pending, places } of entries) {
      for (const place of places) this.#dispatch({ pending, place })
      this.#confirm(pending)
    }
  }

  #confirm(pending: Pending): void {
    pending.remaining--
    if (pending.remaining > 0) return
    this.#refusable.delete(pending)
    const { receipt, isUnkept } = pending
    receipt?.settle(isUnkept && receipt.refusable === true ? 'refused' : 'accepted')
  }
}
