/** Opens a link to another process of ours. Trying again is the caller's. */
import { connect } from 'node:net'
import {
  HANDSHAKE_MS,
  LinkBrokenError,
  type LinkIdentity,
  LinkRefusedError,
  mismatchOf,
  readHello,
  writeHello,
} from './hello.ts'
import { Link, type LinkEvents, type LinkOptions } from './link.ts'

export interface DialOptions extends LinkOptions {
  /** host:port; an IPv6 host in brackets. */
  readonly address: string
  readonly service: string
  readonly protocolVersion: number
  readonly identity: LinkIdentity
  /** Who has to be there: an address proves nothing. Undefined: anybody of the cluster. */
  readonly expectedId?: string
  /** Connecting and greeting together. */
  readonly connectMs?: number
  readonly signal?: AbortSignal
}

/**
 * Events come from the next turn on.
 * @throws LinkRefusedError when either side does not want it: to try again at once is of no use.
 * @throws LinkBrokenError when nobody answers, or what answers is no link.
 */
export async function dialLink(
  options: DialOptions,
  events: (link: Link) => LinkEvents,
): Promise<Link> {
  const { service, protocolVersion, identity, signal } = options
  if (signal?.aborted) throw new LinkBrokenError('given up')
  const socket = connect({ ...parseAddress(options.address), allowHalfOpen: true, noDelay: true })
  // What happens before or after somebody listens is told by `close`.
  socket.on('error', () => undefined)
  const onAbort = (): void => void socket.destroy(new LinkBrokenError('given up'))
  signal?.addEventListener('abort', onAbort)
  try {
    writeHello(socket, { ...identity, service, protocolVersion })
    const greeting = await readHello(socket, options.connectMs ?? HANDSHAKE_MS)
    const refused = refusalOf(options, greeting.hello)
    if (refused !== undefined) throw new LinkRefusedError(refused)
    const link = new Link(socket, greeting, options)
    link.start(events(link))
    return link
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

function refusalOf(options: DialOptions, hello: Link['peer']): string | undefined {
  const { address, service, protocolVersion, identity, expectedId } = options
  if (hello.service !== service) return `${address} answers for ${hello.service}, not ${service}`
  if (expectedId !== undefined && hello.senderId !== expectedId) {
    return `${address} is ${hello.senderId}, not ${expectedId}`
  }
  return mismatchOf({ clusterId: identity.clusterId, protocolVersion }, hello)
}

function parseAddress(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':')
  const host = address.slice(0, at).replace(/^\[(.*)\]$/, '$1')
  const port = Number(address.slice(at + 1))
  if (at <= 0 || !Number.isInteger(port) || port <= 0 || port > 65_535) {
    throw new LinkBrokenError(`${address} is not host:port`)
  }
  return { host, port }
}
