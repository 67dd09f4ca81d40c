/**
 * One port for gRPC and links: the first byte tells them apart. Whoever offers links says who it is and whom
 * it lets in; what is of no link goes to the gRPC server as it came.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { type Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js'
import { MAGIC } from './frames.ts'
import {
  LinkBrokenError,
  type LinkHello,
  type LinkIdentity,
  mismatchOf,
  readHello,
  writeHello,
  writeRefusal,
} from './hello.ts'
import { Link, type LinkEvents, type LinkOptions } from './link.ts'

export interface LinkService extends LinkOptions {
  readonly name: string
  readonly protocolVersion: number
  /** Who this is, or why the caller is refused, in words for people. */
  greet(caller: LinkHello): LinkIdentity | string
  /** The link is open; its events come from the next turn on. */
  opened(link: Link): LinkEvents
}

export interface SharedPortOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** Not bound; stopping it stays its owner's, after this port's `close`. */
  readonly grpc: GrpcServer
  readonly services: readonly LinkService[]
  /** For the log. */
  readonly onRefused?: (refused: { readonly from: string; readonly reason: string }) => void
}

export interface SharedPort {
  readonly port: number
  /** Takes no new connection of either sort and ends the links; those still open after `graceMs` are cut. */
  close(graceMs: number): Promise<void>
}

/** Who connects and says nothing. */
const FIRST_BYTE_MS = 10_000

/** Rejects with the system's error, `code` EADDRINUSE when the port is taken. */
export async function listenOnSharedPort(options: SharedPortOptions): Promise<SharedPort> {
  const links = new LinkAcceptor(options)
  const injector = options.grpc.createConnectionInjector(ServerCredentials.createInsecure())
  const undecided = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    undecided.add(socket)
    const onClose = (): void => {
      clearTimeout(timer)
      undecided.delete(socket)
    }
    const onEnd = (): void => void socket.destroy()
    const timer = setTimeout(() => socket.destroy(), FIRST_BYTE_MS)
    socket.on('error', ignore).on('close', onClose).on('end', onEnd)
    socket.once('data', (chunk: Buffer) => {
      clearTimeout(timer)
      undecided.delete(socket)
      socket.pause().off('close', onClose).off('end', onEnd)
      socket.unshift(chunk)
      if (chunk[0] === MAGIC[0]) void links.accept(socket)
      else {
        socket.off('error', ignore)
        socket.allowHalfOpen = false
        injector.injectConnection(socket)
      }
    })
  })
  const port = await listen(server, options)
  return {
    port,
    close: async (graceMs) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of undecided) socket.destroy()
      injector.drain(graceMs)
      await Promise.all([links.close(graceMs), closed])
    },
  }
}

function ignore(): void {}

function listen(server: Server, { host, port }: SharedPortOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: host.replace(/^\[(.*)\]$/, '$1'), port }, () => {
      server.off('error', reject)
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : port)
    })
  })
}

class LinkAcceptor {
  readonly #options: SharedPortOptions
  readonly #greeting = new Set<Socket>()
  readonly #links = new Set<Link>()
  #isClosing = false
  #onIdle: (() => void) | undefined

  constructor(options: SharedPortOptions) {
    this.#options = options
  }

  async accept(socket: Socket): Promise<void> {
    this.#greeting.add(socket)
    const from = `${socket.remoteAddress}:${socket.remotePort}`
    try {
      const greeting = await readHello(socket)
      const refused = this.#open(socket, greeting)
      if (refused === undefined) return
      this.#options.onRefused?.({ from, reason: refused })
      writeRefusal(socket, refused)
      // The caller closes when it has read why; one that does not is cut off.
      socket.resume().end()
      setTimeout(() => socket.destroy(), FIRST_BYTE_MS).unref()
    } catch (error) {
      const reason = error instanceof LinkBrokenError ? error.message : String(error)
      this.#options.onRefused?.({ from, reason })
      socket.destroy()
    } finally {
      this.#greeting.delete(socket)
    }
  }

  async close(graceMs: number): Promise<void> {
    this.#isClosing = true
    for (const socket of this.#greeting) socket.destroy()
    for (const link of [...this.#links]) link.end()
    if (this.#links.size === 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs)
      this.#onIdle = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    for (const link of [...this.#links]) link.destroy('this side stops')
  }

  /** Returns why it is refused. */
  #open(socket: Socket, greeting: Awaited<ReturnType<typeof readHello>>): string | undefined {
    const { hello } = greeting
    if (this.#isClosing) return 'this side stops'
    const service = this.#options.services.find(({ name }) => name === hello.service)
    if (service === undefined) return `there is no ${hello.service} here`
    const { protocolVersion } = service
    const own = service.greet(hello)
    if (typeof own === 'string') return own
    const refused = mismatchOf({ clusterId: own.clusterId, protocolVersion }, hello)
    if (refused !== undefined) return refused
    writeHello(socket, { ...own, service: service.name, protocolVersion })
    const link = new Link(socket, greeting, service)
    this.#links.add(link)
    const events = service.opened(link)
    link.start({
      frame: (kind, payload) => events.frame(kind, payload),
      drained: () => events.drained?.(),
      ended: () => (events.ended === undefined ? link.end() : events.ended()),
      closed: (error) => {
        this.#links.delete(link)
        if (this.#links.size === 0) this.#onIdle?.()
        events.closed(error)
      },
    })
    return undefined
  }
}
