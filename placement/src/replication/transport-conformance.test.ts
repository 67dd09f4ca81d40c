import { Server } from '@grpc/grpc-js'
import { type LinkService, listenOnSharedPort } from '@robust/proto'
import { describeTransport } from 'raft-ts/conformance'
import { QUIET } from '../testing/loopback.ts'
import { LinkTransport } from './link-transport.ts'

/** A port of its own, whose transport may be another one later. */
async function listen(current: () => LinkTransport | undefined) {
  const grpc = new Server()
  const serviceOf = (at: number): LinkService | undefined => current()?.services[at]
  const services = [0, 1].map((at): LinkService => {
    const [named] = [new LinkTransport(NOBODY).services[at] as LinkService]
    return {
      ...named,
      greet: (caller) => serviceOf(at)?.greet(caller) ?? 'nobody is here',
      opened: (link) => (serviceOf(at) as LinkService).opened(link),
    }
  })
  const port = await listenOnSharedPort({ host: '127.0.0.1', port: 0, grpc, services })
  const stop = async (): Promise<void> => {
    await port.close(0)
    grpc.forceShutdown()
  }
  return { address: `127.0.0.1:${port.port}`, stop }
}

const NOBODY = { clusterId: '', nodeId: '', incarnation: '', members: [], log: QUIET }

describeTransport('LinkTransport', {
  create: async () => {
    // As in the process: the service is there before the transport starts, and refuses.
    const transports: { a?: LinkTransport; b?: LinkTransport } = {}
    const servers = { a: await listen(() => transports.a), b: await listen(() => transports.b) }
    const member = (id: 'a' | 'b') => ({ id, address: servers[id].address })
    const make = (nodeId: 'a' | 'b'): LinkTransport => {
      const incarnation = `${nodeId}/1`
      const members = [member('a'), member('b')]
      const options = { clusterId: 'conformance', nodeId, incarnation, members, log: QUIET }
      const transport = new LinkTransport(options)
      transports[nodeId] = transport
      return transport
    }
    make('a')
    make('b')
    return {
      member,
      transport: async (nodeId) => make(nodeId),
      dispose: async () => {
        await Promise.all([servers.a.stop(), servers.b.stop()])
      },
    }
  },
})
