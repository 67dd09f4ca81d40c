/**
 * Stands before the ports at which nodes of a cluster reach each other, so that links can be cut, slowed and made
 * to lose, one way or both. Who connects is found by the process that holds the other end of the connection.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'
import { Lane } from './lane.ts'
import { type LinkRule, OUTSIDE, ruleFor } from './link-rules.ts'

export interface Front {
  readonly node: string
  /** Where others reach the node. */
  readonly port: number
  /** Where it listens. */
  readonly inner: number
}

export interface LinkProxyOptions {
  readonly host: string
  readonly fronts: readonly Front[]
  /** From 0 to below 1. */
  readonly random: () => number
  /** The node whose process holds the local end `port` of a connection to `peerPort`; undefined: none. */
  readonly nameOf: (port: number, peerPort: number) => string | undefined
}

interface Link {
  readonly from: string
  readonly to: string
  readonly lanes: readonly Lane[]
}

export class LinkProxy {
  readonly #options: LinkProxyOptions
  readonly #links = new Set<Link>()
  readonly #sockets = new Set<Socket>()
  readonly #servers = new Map<string, Server>()
  #rules: readonly LinkRule[] = []

  constructor(options: LinkProxyOptions) {
    this.#options = options
  }

  get rules(): readonly LinkRule[] {
    return this.#rules
  }

  /** From now on, also for what is on its way. */
  setRules(rules: readonly LinkRule[]): void {
    this.#rules = rules
    for (const { lanes } of this.#links) for (const lane of lanes) lane.look()
  }

  /** Rejects when a port is taken. */
  async start(): Promise<void> {
    await Promise.all(this.#options.fronts.map((front) => this.add(front)))
  }

  /** Without effect when it is there. */
  async add(front: Front): Promise<void> {
    if (this.#servers.has(front.node)) return
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#accept(front, socket),
    )
    this.#servers.set(front.node, server)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(front.port, this.#options.host, resolve)
    })
  }

  stop(): void {
    for (const server of this.#servers.values()) server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #accept(front: Front, near: Socket): void {
    const { host, nameOf, random } = this.#options
    const from = nameOf(near.remotePort ?? 0, front.port) ?? OUTSIDE
    const to = front.node
    const far = connect({ host, port: front.inner, allowHalfOpen: true, noDelay: true })
    const rule = (a: string, b: string) => () => ruleFor(this.#rules, a, b)
    const lanes = [
      new Lane({ source: near, target: far, rule: rule(from, to), random }),
      new Lane({ source: far, target: near, rule: rule(to, from), random }),
    ]
    const link = { from, to, lanes }
    this.#links.add(link)
    const end = (): void => {
      for (const lane of lanes) lane.stop()
      this.#links.delete(link)
      near.destroy()
      far.destroy()
    }
    for (const socket of [near, far]) {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.once('close', (hadError) => {
        this.#sockets.delete(socket)
        if (hadError) this.#whenOpen(link, end)
        else if (near.closed && far.closed) this.#links.delete(link)
      })
    }
  }

  /** At once, or when neither direction is cut any more: that an end is gone is a message, too. */
  #whenOpen(link: Link, then: () => void): void {
    const isCut = (): boolean =>
      ruleFor(this.#rules, link.from, link.to).cut || ruleFor(this.#rules, link.to, link.from).cut
    if (!isCut()) {
      then()
      return
    }
    const timer = setInterval(() => {
      if (isCut()) return
      clearInterval(timer)
      then()
    }, 50)
    timer.unref()
  }
}
