import { createHash } from 'node:crypto'
import { Server } from '@grpc/grpc-js'
import {
  type DialOptions,
  dialLink,
  LinkRefusedError,
  type LinkService,
  listenOnSharedPort,
  type SharedPort,
  raft as wire,
} from '@robust/proto'
import {
  type AppendRequest,
  PROTOCOL_VERSION,
  type RaftMember,
  type RaftMessage,
  type SnapshotHeader,
  type TransportReceiver,
} from 'raft-ts'
import { afterEach, describe, expect, it } from 'vitest'
import { QUIET } from '../testing/loopback.ts'
import { LinkTransport, sliceByBytes } from './link-transport.ts'

const PROBE_TERM = 1
const NOBODY = { clusterId: '', nodeId: '', incarnation: '', members: [], log: QUIET }
const cleanups: (() => Promise<void> | void)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

class Host implements TransportReceiver {
  readonly id: string
  readonly received: RaftMessage[] = []
  readonly callers: string[] = []
  probes = 0
  answer: TransportReceiver['snapshot'] = () => Promise.reject(new Error('not expected'))
  transport: LinkTransport | undefined
  #port: SharedPort | undefined

  constructor(id: string) {
    this.id = id
  }

  message(message: RaftMessage): void {
    if (message.term === PROBE_TERM) this.probes += 1
    else this.received.push(message)
  }

  snapshot(header: SnapshotHeader, chunks: AsyncIterable<Uint8Array>): Promise<RaftMessage> {
    return this.answer(header, chunks)
  }

  /** Listens on a port, 0 for a free one; returns it. Delegates to the transport that is made later. */
  async listen(port = 0): Promise<number> {
    const services = [0, 1].map((at): LinkService => {
      const current = (): LinkService | undefined => this.transport?.services[at]
      return {
        ...(new LinkTransport(NOBODY).services[at] as LinkService),
        greet: (caller) => {
          this.callers.push(caller.senderId)
          return current()?.greet(caller) ?? 'nobody is here'
        },
        opened: (link) => (current() as LinkService).opened(link),
      }
    })
    const grpc = new Server()
    this.#port = await listenOnSharedPort({ host: '127.0.0.1', port, grpc, services })
    return this.#port.port
  }

  async start(members: readonly RaftMember[], clusterId = 'c'): Promise<void> {
    const incarnation = `${this.id}-1`
    const options = { clusterId, nodeId: this.id, incarnation, members, log: QUIET }
    this.transport = new LinkTransport(options)
    await this.transport.start(this)
  }

  async stop(): Promise<void> {
    await this.transport?.stop()
    await this.#port?.close(0)
  }
}

async function pair() {
  const [a, b] = [new Host('a'), new Host('b')]
  const ports = [await a.listen(), await b.listen()] as const
  const members = [a, b].map(({ id }, at) => ({ id, address: `127.0.0.1:${ports[at]}` }))
  cleanups.push(
    () => a.stop(),
    () => b.stop(),
  )
  await a.start(members)
  await b.start(members)
  const [toA, toB] = members as [RaftMember, RaftMember]
  return { a, b, toA, toB, members, ports }
}

function envelope(from: string, to: string) {
  const incarnation = `${from}-1`
  return { protocolVersion: PROTOCOL_VERSION, clusterId: 'c', from, to, incarnation, term: 3 }
}

function heartbeat(from: string, to: string, round: number): RaftMessage {
  return { ...envelope(from, to), kind: 'heartbeat-request', commitIndex: 1, round }
}

function append(from: string, to: string, size: number): AppendRequest {
  const data = new Uint8Array(size).fill(7)
  return {
    ...envelope(from, to),
    kind: 'append-request',
    prevLogIndex: 4,
    prevLogTerm: 2,
    commitIndex: 4,
    entries: [
      { index: 5, term: 3, kind: 'command', data },
      { index: 6, term: 3, kind: 'no-op', data: new Uint8Array(0) },
      { index: 7, term: 3, kind: 'configuration', data: new Uint8Array([1]) },
    ],
  }
}

/** Probes until one arrives: what is sent before the stream is up is lost. */
async function untilReached(from: Host, to: Host, member: RaftMember): Promise<void> {
  const before = to.probes
  const probe = { ...heartbeat(from.id, to.id, 0), term: PROBE_TERM }
  const probed = (): number => {
    from.transport?.send(member, [probe])
    return to.probes
  }
  await expect.poll(probed, { timeout: 5_000 }).toBeGreaterThan(before)
}

/** A promise and the function that resolves it. */
function signal<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((fulfil) => {
    resolve = fulfil
  })
  return { promise, resolve }
}

async function connected() {
  const setting = await pair()
  const { a, b, toA, toB } = setting
  await untilReached(a, b, toB)
  await untilReached(b, a, toA)
  return setting
}

describe('LinkTransport messages', () => {
  it('carries every kind both ways as it is, in order', async () => {
    const { a, b, toA, toB } = await connected()
    const kinds: RaftMessage[] = [
      { ...envelope('a', 'b'), kind: 'pre-vote-request', lastLogIndex: 9, lastLogTerm: 2 },
      {
        ...envelope('a', 'b'),
        kind: 'vote-request',
        lastLogIndex: 9,
        lastLogTerm: 2,
        leadershipTransfer: true,
      },
      { ...envelope('a', 'b'), kind: 'timeout-now', round: 7 },
      append('a', 'b', 10),
      { ...append('a', 'b', 0), entries: [] },
      heartbeat('a', 'b', 12),
    ]
    const answers: RaftMessage[] = [
      { ...envelope('b', 'a'), kind: 'pre-vote-response', granted: true },
      { ...envelope('b', 'a'), kind: 'vote-response', granted: false },
      {
        ...envelope('b', 'a'),
        kind: 'append-response',
        accepted: false,
        index: 4,
        hintIndex: 3,
        hintTerm: 1,
      },
      { ...envelope('b', 'a'), kind: 'heartbeat-response', round: 12 },
      { ...envelope('b', 'a'), kind: 'snapshot-response', accepted: true, index: 8 },
    ]
    a.transport?.send(toB, kinds)
    b.transport?.send(toA, answers)
    await expect.poll(() => b.received).toHaveLength(kinds.length)
    await expect.poll(() => a.received).toHaveLength(answers.length)
    expect(b.received).toMatchObject(kinds)
    expect(a.received).toMatchObject(answers)
  })

  it('carries more than one frame holds, in order', async () => {
    const { a, b, toB } = await connected()
    const messages = Array.from({ length: 20 }, (_, round) => [
      append('a', 'b', 400_000),
      heartbeat('a', 'b', round),
    ]).flat()
    a.transport?.send(toB, messages)
    await expect.poll(() => b.received.length, { timeout: 5_000 }).toBe(40)
    expect(b.received.map((message) => ('round' in message ? message.round : 'append'))).toEqual(
      messages.map((message) => ('round' in message ? message.round : 'append')),
    )
  })

  it('reaches a peer again that was away, whoever dials', async () => {
    const { a, b, toA, toB, members, ports } = await connected()
    await b.stop()
    await b.listen(ports[1])
    await b.start(members)
    await untilReached(a, b, toB)
    await a.stop()
    await a.listen(ports[0])
    await a.start(members)
    await untilReached(b, a, toA)
  })

  it.each<[string, Partial<DialOptions['identity']>, { to?: string; protocolVersion?: number }]>([
    ['another cluster', { clusterId: 'other' }, {}],
    ['one that has its own id', { senderId: 'b' }, {}],
    ['one that has none', { senderId: '' }, {}],
    ['who means another node', {}, { to: 'a' }],
    ['another version', {}, { protocolVersion: 99 }],
  ])('refuses %s', async (_, wrong, { to = 'b', protocolVersion = PROTOCOL_VERSION }) => {
    const { b, ports } = await pair()
    for (const service of ['robust.raft.v1.Messages', 'robust.raft.v1.Snapshot']) {
      const dialled = dial(ports[1], { service, protocolVersion, identity: identity(to, wrong) })
      await expect(dialled).rejects.toBeInstanceOf(LinkRefusedError)
    }
    expect(b.received).toEqual([])
  })

  it('cuts off who sends what is no message, and hears it again', async () => {
    const { a, b, toB, ports } = await pair()
    const options = { service: 'robust.raft.v1.Messages', protocolVersion: PROTOCOL_VERSION }
    const closed = signal()
    const link = await dial(ports[1], { ...options, identity: identity('b', {}) }, closed.resolve)
    link.send(16, Buffer.alloc(20, 0xff))
    await closed.promise
    expect(b.received).toEqual([])
    await untilReached(a, b, toB)
  })
})

function identity(to: string, wrong: Partial<DialOptions['identity']>) {
  const detail = wire.Greeting.encode({ to, address: '' }).finish()
  return { clusterId: 'c', senderId: 'a', incarnation: 'a-1', detail, ...wrong }
}

async function dial(
  port: number,
  options: Pick<DialOptions, 'service' | 'protocolVersion' | 'identity'>,
  closed: () => void = () => undefined,
) {
  const address = `127.0.0.1:${port}`
  const link = await dialLink({ ...options, address, frameBytesMax: 1_000 }, () => ({
    frame: () => undefined,
    closed,
  }))
  cleanups.push(() => link.destroy('the test is over'))
  return link
}

describe('LinkTransport and members that come and go', () => {
  it('hears one that it was not told of, and answers at the address that it is given', async () => {
    const { b, ports } = await pair()
    const c = new Host('c')
    cleanups.push(() => c.stop())
    const toC = { id: 'c', address: `127.0.0.1:${await c.listen()}` }
    await c.start([toC])
    await untilReached(c, b, { id: 'b', address: `127.0.0.1:${ports[1]}` })
    await untilReached(b, c, toC)
  })

  it('reaches a member at another address as soon as a message is for there', async () => {
    const { a, b, toB, members } = await connected()
    await b.stop()
    const moved = { ...toB, address: `127.0.0.1:${await b.listen()}` }
    await b.start([members[0] as RaftMember, moved])
    await untilReached(a, b, moved)
  })

  it('does not take another member that listens at an address for the one that is meant', async () => {
    const { a, b, toB } = await connected()
    const { received, probes } = b
    a.transport?.send({ id: 'd', address: toB.address }, [heartbeat('a', 'd', 5)])
    await untilReached(a, b, toB)
    expect(received).toEqual([])
    expect(b.probes).toBeGreaterThan(probes)
  })

  it('connects to a member that it is told of before anything is sent', async () => {
    const { a } = await connected()
    const c = new Host('c')
    cleanups.push(() => c.stop())
    const toC = { id: 'c', address: `127.0.0.1:${await c.listen()}` }
    a.transport?.follow([toC])
    await expect.poll(() => c.callers, { timeout: 5_000 }).toContain('a')
  })
})

describe('LinkTransport snapshots', () => {
  const bytes = new Uint8Array(3_000_000).map((_, at) => at % 251)
  const sha256 = createHash('sha256').update(bytes).digest('hex')

  function header(members: readonly RaftMember[]): SnapshotHeader {
    const learner = { id: 'l', address: 'x', role: 'learner' } as const
    const position = { index: 8, term: 2, members: [...members, learner], configurationIndex: 5 }
    const snapshot = { ...position, bytes: bytes.length, sha256 }
    return { ...envelope('a', 'b'), snapshot }
  }

  async function* inChunks(size = 64 * 1024): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
  }

  const accepted: RaftMessage = {
    ...envelope('b', 'a'),
    kind: 'snapshot-response',
    accepted: true,
    index: 8,
  }

  it('carries header, bytes and answer', async () => {
    const { a, b, toB, members } = await connected()
    const got: SnapshotHeader[] = []
    const hash = createHash('sha256')
    b.answer = async (offered, chunks) => {
      got.push(offered)
      for await (const chunk of chunks) hash.update(chunk)
      return accepted
    }
    const answer = await a.transport?.sendSnapshot(toB, header(members), inChunks())
    expect(answer).toMatchObject(accepted)
    expect(got).toMatchObject([header(members)])
    expect(hash.digest('hex')).toBe(sha256)
  })

  it('takes an answer that comes before the end', async () => {
    const { a, b, toB, members } = await connected()
    b.answer = async () => accepted
    await expect(
      a.transport?.sendSnapshot(toB, header(members), inChunks()),
    ).resolves.toMatchObject(accepted)
  })

  it('fails on both sides when the sender cannot go on', async () => {
    const { a, b, toB, members } = await connected()
    const broken = signal<Error>()
    const started = signal()
    b.answer = async (_, chunks) => {
      try {
        for await (const _chunk of chunks) started.resolve()
      } catch (error) {
        broken.resolve(error as Error)
        throw error
      }
      throw new Error('the chunks ended as if they were complete')
    }
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 1_000)
      await started.promise
      throw new Error('the disk failed')
    }
    await expect(a.transport?.sendSnapshot(toB, header(members), failing())).rejects.toThrow(
      'the disk failed',
    )
    expect((await broken.promise).message).toContain('broke')
  })

  it('fails on both sides when the receiver stops', async () => {
    const { a, b, toB, members } = await connected()
    const started = signal<void>()
    const broken = signal<void>()
    b.answer = async (_, chunks) => {
      try {
        for await (const _chunk of chunks) started.resolve()
      } finally {
        broken.resolve()
      }
      return accepted
    }
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) yield bytes.subarray(0, 1_000)
    }
    const sending = a.transport?.sendSnapshot(toB, header(members), endless())
    const failed = expect(sending).rejects.toThrow()
    await started.promise
    await b.stop()
    await failed
    await broken.promise
  })
})

describe('sliceByBytes', () => {
  it('keeps the order and gives a large message a frame of its own', () => {
    const small = heartbeat('a', 'b', 1)
    const large = append('a', 'b', 900_000)
    const slices = sliceByBytes([small, large, large, small])
    expect(slices.map((slice) => slice.length)).toEqual([2, 2])
    expect(slices.flat()).toEqual([small, large, large, small])
  })
})
