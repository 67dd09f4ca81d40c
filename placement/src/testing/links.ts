/** TCP links between members that a test can cut and mend, each direction by itself. */
import { connect, createServer, type Server, type Socket } from 'node:net'

interface Link {
  readonly server: Server
  readonly port: number
  readonly sockets: Set<Socket>
  isCut: boolean
}

export class Links {
  readonly #links = new Map<string, Link>()

  /** A port that leads to another one while the link from one member to another is whole. */
  async open(from: string, to: string, target: number): Promise<number> {
    const sockets = new Set<Socket>()
    const server = createServer((near) => {
      const far = connect(target, '127.0.0.1')
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(socket)
        socket.on('error', () => undefined)
        socket.on('close', () => {
          sockets.delete(socket)
          other.destroy()
        })
      }
      if (link.isCut) near.destroy()
      else near.pipe(far).pipe(near)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const link: Link = { server, port, sockets, isCut: false }
    this.#links.set(`${from} ${to}`, link)
    return port
  }

  /** Both ways between a member and all others. */
  isolate(member: string, isCut = true): void {
    for (const [ends, link] of this.#links) {
      if (!ends.split(' ').includes(member)) continue
      link.isCut = isCut
      if (isCut) for (const socket of link.sockets) socket.destroy()
    }
  }

  stop(): void {
    for (const { server, sockets } of this.#links.values()) {
      server.close()
      for (const socket of sockets) socket.destroy()
    }
  }
}
