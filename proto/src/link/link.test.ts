import { once } from 'node:events'
import { connect, createServer, type Server as NetServer, Socket } from 'node:net'
import { credentials, Server } from '@grpc/grpc-js'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { HealthClient, HealthCheckResponse_ServingStatus as Status } from '../gen/health.ts'
import { serveHealthAndReflection } from '../standard-services.ts'
import { type DialOptions, dialLink } from './dial-link.ts'
import { FrameWriter, MAGIC } from './frames.ts'
import {
  LinkBrokenError,
  type LinkHello,
  LinkRefusedError,
  readHello,
  writeHello,
} from './hello.ts'
import type { Link, LinkEvents } from './link.ts'
import { type LinkService, listenOnSharedPort } from './shared-port.ts'

const FRAME_BYTES_MAX = 4 * 1024 * 1024
const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** One end of a link, and what happened there. */
class End {
  readonly frames: [number, Buffer][] = []
  link: Link | undefined
  drained = 0
  isEnded = false
  closed: LinkBrokenError | 'clean' | undefined
  onFrame: (link: Link, kind: number, payload: Buffer) => void = () => undefined
  endsItself = true

  readonly events = (link: Link): LinkEvents => {
    this.link = link
    return {
      frame: (kind, payload) => {
        this.frames.push([kind, Buffer.from(payload)])
        this.onFrame(link, kind, payload)
      },
      drained: () => {
        this.drained += 1
      },
      ended: () => {
        this.isEnded = true
        if (this.endsItself) link.end()
      },
      closed: (error) => {
        expect(this.closed).toBeUndefined()
        this.closed = error ?? 'clean'
      },
    }
  }
}

async function serve(options: Partial<LinkService> = {}) {
  const ends: End[] = []
  const callers: LinkHello[] = []
  const refusals: string[] = []
  const prepared: End[] = []
  const grpc = new Server({ 'grpc.enable_channelz': 0 })
  serveHealthAndReflection(grpc, ['robust.test'])('SERVING')
  const service: LinkService = {
    name: 'echo',
    protocolVersion: 1,
    frameBytesMax: FRAME_BYTES_MAX,
    greet: (caller) => {
      callers.push(caller)
      return { clusterId: 'c', senderId: 'b', incarnation: 'b1', detail: Buffer.from('detail') }
    },
    opened: (link) => {
      const end = prepared.shift() ?? new End()
      ends.push(end)
      return end.events(link)
    },
    ...options,
  }
  const onRefused = ({ reason }: { reason: string }): void => void refusals.push(reason)
  const place = { host: '127.0.0.1', port: 0 }
  const port = await listenOnSharedPort({ ...place, grpc, services: [service], onRefused })
  let isClosed = false
  const close = async (): Promise<void> => {
    if (isClosed) return
    isClosed = true
    await port.close(100)
    grpc.forceShutdown()
  }
  cleanups.push(close)
  return {
    port: port.port,
    address: `127.0.0.1:${port.port}`,
    ends,
    callers,
    refusals,
    prepared,
    close,
  }
}

async function dial(address: string, options: Partial<DialOptions> = {}) {
  const end = new End()
  const identity = { clusterId: 'c', senderId: 'a', incarnation: 'a1' }
  const common = { address, service: 'echo', protocolVersion: 1, identity }
  const link = await dialLink({ ...common, frameBytesMax: FRAME_BYTES_MAX, ...options }, end.events)
  cleanups.push(() => link.destroy('the test is over'))
  return { link, end }
}

async function openPair(options: Partial<LinkService> & Partial<DialOptions> = {}) {
  const server = await serve(options)
  const { link, end } = await dial(server.address, options)
  const other = server.ends[0] as End
  return { ...server, link, end, other }
}

/** A plain socket on the port. */
async function raw(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  cleanups.push(() => socket.destroy())
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return socket
}

function helloBytes(hello: Partial<LinkHello> = {}): Buffer {
  const pieces: Buffer[] = []
  const socket = { write: (bytes: Buffer) => pieces.push(bytes) } as unknown as Socket
  const identity = { clusterId: 'c', senderId: 'a', incarnation: 'a1' }
  writeHello(socket, { ...identity, service: 'echo', protocolVersion: 1, ...hello })
  return Buffer.concat(pieces)
}

function frameBytes(kind: number, payload: Uint8Array): Buffer {
  const writer = new FrameWriter()
  writer.push(kind, [payload])
  return Buffer.concat(writer.take())
}

describe('a link', () => {
  it('says on both sides who is there', async () => {
    const { link, other, callers } = await openPair()
    expect(link.peer).toMatchObject({ clusterId: 'c', senderId: 'b', incarnation: 'b1' })
    expect(Buffer.from(link.peer.detail).toString()).toBe('detail')
    expect(callers).toMatchObject([{ clusterId: 'c', senderId: 'a', incarnation: 'a1' }])
    expect(other.link?.peer.senderId).toBe('a')
  })

  it('carries frames both ways in order, small and large', async () => {
    const { link, end, other } = await openPair()
    other.onFrame = (back, kind, payload) => void back.send(kind, Buffer.from(payload))
    const sent: [number, Buffer][] = []
    for (let at = 0; at < 300; at++) {
      const payload = Buffer.alloc(at % 50 === 0 ? 700_000 : at, at)
      sent.push([16 + (at % 200), payload])
      link.send(16 + (at % 200), payload.subarray(0, 3), payload.subarray(3))
    }
    await expect.poll(() => end.frames.length, { timeout: 10_000 }).toBe(300)
    expect(
      end.frames.every(
        ([kind, payload], at) => kind === sent[at]?.[0] && payload.equals(sent[at][1]),
      ),
    ).toBe(true)
  })

  it('writes what is sent in one turn at once', async () => {
    const { link, other } = await openPair()
    const write = vi.spyOn(Socket.prototype, 'write')
    cleanups.push(() => write.mockRestore())
    for (let at = 0; at < 1_000; at++) link.send(16, Buffer.from(`${at}`))
    expect(write).not.toHaveBeenCalled()
    await expect.poll(() => other.frames.length).toBe(1_000)
    expect(write.mock.calls.length).toBeLessThanOrEqual(2)
  })

  it('ends when both sides have ended, and what was sent before arrives', async () => {
    const { link, end, other } = await openPair()
    other.endsItself = false
    link.send(16, Buffer.alloc(3_000_000))
    link.end()
    expect(link.send(16, Buffer.alloc(1))).toBe(false)
    await expect.poll(() => other.isEnded).toBe(true)
    expect(other.frames.map(([, payload]) => payload.length)).toEqual([3_000_000])
    other.link?.send(17, Buffer.from('an answer after the end of the other side'))
    await expect.poll(() => end.frames.length).toBe(1)
    other.link?.end()
    await expect.poll(() => [end.closed, other.closed]).toEqual(['clean', 'clean'])
  })

  it('is broken, not ended, when the other side is cut off', async () => {
    const { end, other } = await openPair()
    other.link?.destroy('away')
    await expect.poll(() => end.closed).toBeInstanceOf(LinkBrokenError)
    expect(other.closed).toBeInstanceOf(LinkBrokenError)
  })

  it('ends the links of a port that closes, and cuts those that do not end', async () => {
    const one = await openPair({ silenceMs: 400 })
    one.end.endsItself = false
    const closing = one.close()
    await expect.poll(() => one.end.isEnded).toBe(true)
    await closing
    await expect.poll(() => one.end.closed).toBeInstanceOf(LinkBrokenError)
    await expect(dial(one.address)).rejects.toBeInstanceOf(LinkBrokenError)
  })

  it('is closed by a handler that throws, with the cause', async () => {
    const { link, other } = await openPair()
    other.onFrame = () => {
      throw new Error('not a message')
    }
    link.send(16, Buffer.from('x'))
    await expect.poll(() => String(other.closed)).toContain('not a message')
  })
})

describe('a slow reader', () => {
  it('slows the sender, loses nothing, and is not taken for dead', async () => {
    const { link, end, other } = await openPair({ silenceMs: 400 })
    other.link?.pause()
    let sent = 0
    // Bounded: the buffers between take some MiB, and then `send` says stop.
    while (link.send(16, Buffer.alloc(256 * 1024, sent)) || link.unsentBytes < 8 * 1024 * 1024) {
      sent += 1
      await new Promise((resolve) => setImmediate(resolve))
      expect(sent).toBeLessThan(1_000)
    }
    sent += 1
    const beforeMs = performance.now()
    await expect.poll(() => performance.now() - beforeMs, { timeout: 5_000 }).toBeGreaterThan(1_500)
    expect([end.closed, other.closed, end.drained]).toEqual([undefined, undefined, 0])
    expect(other.frames).toEqual([])
    other.link?.resume()
    await expect.poll(() => other.frames.length, { timeout: 10_000 }).toBe(sent)
    await expect.poll(() => end.drained).toBe(1)
    expect(other.frames.every(([, payload], at) => payload[0] === at % 256)).toBe(true)
  })

  it('gets no frame after it paused, though more came in the same piece', async () => {
    const { link, end, other } = await openPair()
    other.onFrame = (at) => at.pause()
    for (let at = 0; at < 5; at++) link.send(16, Buffer.from([at]))
    link.end()
    for (let count = 1; count <= 5; count++) {
      await expect.poll(() => other.frames.length).toBe(count)
      await new Promise((resolve) => setImmediate(resolve))
      expect(other.frames.length).toBe(count)
      other.link?.resume()
    }
    await expect.poll(() => [end.closed, other.closed]).toEqual(['clean', 'clean'])
  })

  it('that is paused hears of frames before a cut', async () => {
    const server = await serve()
    const end = new End()
    end.onFrame = (at) => at.pause()
    server.prepared.push(end)
    const socket = await raw(server.port)
    socket.write(
      Buffer.concat([
        helloBytes(),
        frameBytes(16, Buffer.from('1')),
        frameBytes(17, Buffer.from('2')),
      ]),
    )
    socket.end()
    await expect.poll(() => end.frames.length).toBe(1)
    end.link?.resume()
    expect(end.frames.length).toBe(2)
    end.link?.resume()
    await expect.poll(() => String(end.closed)).toContain('cut off')
  })
})

describe('a peer that dies', () => {
  it('without a word is noticed by its silence, and an idle one that lives is not', async () => {
    const { end, other } = await openPair({ silenceMs: 300 })
    const { port } = await silentListener()
    const mute = await dial(`127.0.0.1:${port}`, { silenceMs: 300 })
    await expect
      .poll(() => String(mute.end.closed), { timeout: 5_000 })
      .toContain('nothing was heard')
    const beforeMs = performance.now()
    await expect.poll(() => performance.now() - beforeMs, { timeout: 5_000 }).toBeGreaterThan(1_000)
    expect([end.closed, other.closed]).toEqual([undefined, undefined])
  })

  it('before the hello fails the call in the given time', async () => {
    const listener = createServer(() => undefined)
    const port = await listening(listener)
    await expect(dial(`127.0.0.1:${port}`, { connectMs: 200 })).rejects.toThrow(
      'no hello within 200 ms',
    )
  })

  it('leaves a call that can be given up', async () => {
    const port = await listening(createServer(() => undefined))
    const abort = new AbortController()
    const calling = dial(`127.0.0.1:${port}`, { signal: abort.signal })
    abort.abort()
    await expect(calling).rejects.toBeInstanceOf(LinkBrokenError)
  })

  it('is not there at all', async () => {
    const listener = createServer()
    const port = await listening(listener)
    listener.close()
    await expect(dial(`127.0.0.1:${port}`)).rejects.toThrow('ECONNREFUSED')
    await expect(dial('nowhere')).rejects.toThrow('nowhere is not host:port')
  })
})

async function listening(listener: NetServer): Promise<number> {
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  cleanups.push(() => listener.close())
  return (listener.address() as { port: number }).port
}

/** Greets and then never says anything. */
async function silentListener(): Promise<{ port: number }> {
  const port = await listening(
    createServer((socket) => {
      socket.on('error', () => undefined)
      cleanups.push(() => socket.destroy())
      void readHello(socket).then(() => {
        socket.resume()
        socket.write(helloBytes({ senderId: 'b' }))
      })
    }),
  )
  return { port }
}

describe('a link is refused', () => {
  it.each<[string, Partial<DialOptions>, string]>([
    ['for another service', { service: 'other' }, 'there is no other here'],
    [
      'in another version',
      { protocolVersion: 2 },
      'a speaks echo in version 2, this side version 1',
    ],
    [
      'from another cluster',
      { identity: { clusterId: 'd', senderId: 'a', incarnation: 'a1' } },
      'a belongs to cluster d, this side to c',
    ],
    ['when somebody else is there', { expectedId: 'z' }, 'is b, not z'],
  ])('%s', async (_, options, reason) => {
    const { address, ends } = await serve()
    await expect(dial(address, options)).rejects.toThrow(reason)
    await expect(dial(address, options)).rejects.toBeInstanceOf(LinkRefusedError)
    expect(ends.every((end) => end.frames.length === 0)).toBe(true)
  })

  it('by the service, in its words', async () => {
    const { address, refusals, ends } = await serve({
      greet: (caller) => `not you, ${caller.senderId}`,
    })
    await expect(dial(address)).rejects.toThrow('not you, a')
    expect([refusals, ends]).toEqual([['not you, a'], []])
  })

  it('by the caller, when another cluster answers', async () => {
    const { address, ends } = await serve({
      greet: () => ({ clusterId: '', senderId: 'b', incarnation: 'b1' }),
    })
    await expect(dial(address)).resolves.toBeDefined()
    const identity = { clusterId: 'd', senderId: 'a', incarnation: 'a1' }
    await expect(dial(address, { identity })).resolves.toBeDefined()
    expect(ends.length).toBe(2)
  })
})

describe('a port', () => {
  it('takes a hello that is cut at every byte', async () => {
    const { port, ends } = await serve()
    const bytes = Buffer.concat([helloBytes(), frameBytes(16, Buffer.from('payload'))])
    for (let cut = 1; cut < bytes.length; cut++) {
      const socket = await raw(port)
      socket.setNoDelay(true)
      socket.write(bytes.subarray(0, cut))
      await new Promise((resolve) => setTimeout(resolve, 2))
      socket.write(bytes.subarray(cut))
      await expect.poll(() => ends[cut - 1]?.frames.length, { interval: 2, timeout: 5_000 }).toBe(1)
      expect(ends.length).toBe(cut)
      socket.destroy()
    }
  })

  it('serves gRPC and links at once', async () => {
    const { address, ends } = await serve()
    const client = new HealthClient(address, credentials.createInsecure())
    cleanups.push(() => client.close())
    const { link } = await dial(address)
    const check = (): Promise<number> =>
      new Promise((resolve, reject) =>
        client.check({ service: '' }, (error, reply) =>
          error ? reject(error) : resolve(reply.status),
        ),
      )
    for (let at = 0; at < 50; at++) {
      link.send(16, Buffer.alloc(100_000))
      expect(await check()).toBe(Status.SERVING)
    }
    await expect.poll(() => ends[0]?.frames.length).toBe(50)
  })

  it('closes with gRPC clients connected', async () => {
    const { address, close } = await serve()
    const client = new HealthClient(address, credentials.createInsecure())
    cleanups.push(() => client.close())
    await new Promise<void>((resolve, reject) =>
      client.check({ service: '' }, (error) => (error ? reject(error) : resolve())),
    )
    await close()
    await expect(dial(address)).rejects.toThrow('ECONNREFUSED')
  })

  it.each<[string, Buffer]>([
    ['garbage after the magic byte', Buffer.concat([MAGIC.subarray(0, 1), Buffer.alloc(64, 0xff)])],
    ['a hello above its limit', Buffer.concat([MAGIC, Buffer.from([0x7f, 0, 0, 0, 0])])],
    ['a first frame that is no hello', Buffer.concat([MAGIC, frameBytes(16, Buffer.from('x'))])],
    ['a hello that cannot be read', Buffer.concat([MAGIC, frameBytes(0, Buffer.alloc(9, 0xff))])],
    ['a frame above the limit', Buffer.concat([helloBytes(), Buffer.from([0x7f, 0, 0, 0, 16])])],
    ['an unknown kind', Buffer.concat([helloBytes(), frameBytes(9, Buffer.alloc(0))])],
    [
      'a frame after the end',
      Buffer.concat([
        helloBytes(),
        frameBytes(3, Buffer.alloc(0)),
        frameBytes(16, Buffer.alloc(1)),
      ]),
    ],
    ['half a frame', Buffer.concat([helloBytes(), frameBytes(16, Buffer.alloc(9)).subarray(0, 8)])],
    ['what is no protocol of ours', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ])('closes on %s and serves the next', async (name, bytes) => {
    const { port, address, ends } = await serve()
    const socket = await raw(port)
    const closed = once(socket.resume(), 'close')
    socket.write(bytes)
    if (name === 'half a frame' || name.startsWith('what')) socket.end()
    else socket.on('end', () => socket.end())
    await closed
    expect(ends.every((end) => end.closed instanceof LinkBrokenError)).toBe(true)
    await expect(dial(address)).resolves.toBeDefined()
  })

  it('tells a taken port by its code', async () => {
    const { port } = await serve()
    const grpc = new Server()
    cleanups.push(() => grpc.forceShutdown())
    const taken = listenOnSharedPort({ host: '127.0.0.1', port, grpc, services: [] })
    await expect(taken).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })
})
