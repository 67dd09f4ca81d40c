/** What a Transport must do: messages whole and in order while connected, snapshots as streams. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { RaftMember } from '../core/configuration.ts'
import {
  type Envelope,
  type LogEntryKind,
  PROTOCOL_VERSION,
  type RaftMessage,
  type SnapshotHeader,
  type SnapshotResponse,
} from '../core/messages.ts'
import type { Transport, TransportReceiver } from '../ports/transport.ts'

export interface TransportUnderTest {
  /**
   * A new network between members `a` and `b` of cluster `conformance`, whose incarnations are `a/1` and
   * `b/1`. Nothing is started.
   */
  create(): Promise<TransportNetwork>
}

export interface TransportNetwork {
  member(id: 'a' | 'b'): RaftMember
  /** A new transport for a member; the one before has been stopped. */
  transport(id: 'a' | 'b'): Promise<Transport>
  /** After all transports were stopped. */
  dispose(): Promise<void>
}

const WAIT_MS = 10_000
/** Heartbeats of this round only find out whether there is a connection. */
const PROBE_ROUND = 0

class End implements TransportReceiver {
  readonly received: RaftMessage[] = []
  probes = 0
  answer: TransportReceiver['snapshot'] = () => Promise.reject(new Error('not expected'))

  message(message: RaftMessage): void {
    const isProbe = message.kind === 'heartbeat-request' && message.round === PROBE_ROUND
    if (isProbe) this.probes += 1
    else this.received.push(message)
  }

  snapshot(header: SnapshotHeader, chunks: AsyncIterable<Uint8Array>): Promise<RaftMessage> {
    return this.answer(header, chunks)
  }
}

export function describeTransport(name: string, underTest: TransportUnderTest): void {
  describe(`${name} as a transport`, () => {
    let network: TransportNetwork
    let ends: { a: End; b: End }
    const running: Transport[] = []

    beforeEach(async () => {
      network = await underTest.create()
      ends = { a: new End(), b: new End() }
    })
    afterEach(async () => {
      for (const transport of running.splice(0)) await transport.stop()
      await network.dispose()
    })

    async function start(id: 'a' | 'b'): Promise<Transport> {
      const transport = await network.transport(id)
      running.push(transport)
      await transport.start(ends[id])
      return transport
    }

    const envelope = (from: 'a' | 'b'): Envelope => ({
      protocolVersion: PROTOCOL_VERSION,
      clusterId: 'conformance',
      from,
      to: from === 'a' ? 'b' : 'a',
      incarnation: `${from}/1`,
      address: network.member(from).address,
      term: 7,
    })
    const heartbeat = (from: 'a' | 'b', round: number): RaftMessage => ({
      ...envelope(from),
      kind: 'heartbeat-request',
      commitIndex: 3,
      round,
    })

    async function until(condition: () => boolean, what: string): Promise<void> {
      await expect.poll(condition, { timeout: WAIT_MS, interval: 5, message: what }).toBe(true)
    }

    /** What is sent before there is a connection may be lost. */
    async function connect(from: 'a' | 'b', transport: Transport): Promise<void> {
      const to = from === 'a' ? 'b' : 'a'
      const before = ends[to].probes
      await until(() => {
        transport.send(network.member(to), [heartbeat(from, PROBE_ROUND)])
        return ends[to].probes > before
      }, `a connection from ${from} to ${to}`)
    }

    async function connected(): Promise<{ a: Transport; b: Transport }> {
      const transports = { a: await start('a'), b: await start('b') }
      await connect('a', transports.a)
      await connect('b', transports.b)
      return transports
    }

    it('carries every field of every kind of message', async () => {
      const { a } = await connected()
      const messages = everyKind(envelope('a'))
      a.send(network.member('b'), messages)
      await until(() => ends.b.received.length >= messages.length, 'all of them')
      expect(ends.b.received.map(comparable)).toEqual(messages.map(comparable))
    })

    it('keeps the order, in both directions at once', async () => {
      const { a, b } = await connected()
      for (let round = 1; round <= 100; round += 1) {
        a.send(network.member('b'), [heartbeat('a', 2 * round), heartbeat('a', 2 * round + 1)])
        b.send(network.member('a'), [heartbeat('b', round)])
      }
      await until(() => ends.b.received.length >= 200 && ends.a.received.length >= 100, 'all')
      const rounds = (end: End): unknown[] =>
        end.received.map((message) => (message as { round?: number }).round)
      expect(rounds(ends.b)).toEqual(Array.from({ length: 200 }, (_, at) => at + 2))
      expect(rounds(ends.a)).toEqual(Array.from({ length: 100 }, (_, at) => at + 1))
    })

    it('carries megabytes in one call', async () => {
      const { a } = await connected()
      const entries = Array.from({ length: 6 }, (_, at) => ({
        index: at + 1,
        term: 7,
        kind: 'command' as const,
        data: new Uint8Array(500_000).fill(at),
      }))
      const body = { kind: 'append-request', prevLogIndex: 0, prevLogTerm: 0 } as const
      const appends = entries.map((entry) => {
        return { ...envelope('a'), ...body, commitIndex: 0, entries: [entry] }
      })
      a.send(network.member('b'), appends)
      await until(() => ends.b.received.length >= appends.length, 'all of them')
      expect(ends.b.received.map(comparable)).toEqual(appends.map(comparable))
    })

    it('drops what is for a member that is away, and never throws', async () => {
      const a = await start('a')
      a.send(network.member('b'), [heartbeat('a', 1)])
      a.send({ id: 'nobody', address: network.member('b').address }, [heartbeat('a', 1)])
      const b = await start('b')
      await connect('a', a)
      await b.stop()
      a.send(network.member('b'), [heartbeat('a', 2)])
      expect(
        ends.b.received.filter((message) => 'round' in message && message.round === 2),
      ).toEqual([])
    })

    it.each(['a', 'b'] as const)('reaches the other again after %s was restarted', async (id) => {
      const other = id === 'a' ? 'b' : 'a'
      const transports = await connected()
      await transports[id].stop()
      const restarted = await start(id)
      await connect(id, restarted)
      await connect(other, transports[other])
    })

    it('calls the receiver no more once it is stopped, and may be stopped twice', async () => {
      const { a, b } = await connected()
      await b.stop()
      await b.stop()
      const { probes } = ends.b
      a.send(network.member('b'), [heartbeat('a', PROBE_ROUND)])
      b.send(network.member('a'), [heartbeat('b', 5)])
      await a.stop()
      expect(ends.b.probes).toBe(probes)
    })

    describe('of snapshots', () => {
      const header = (bytes: number): SnapshotHeader => ({
        ...envelope('a'),
        snapshot: {
          index: 40,
          term: 6,
          members: [
            { id: 'a', address: 'a:1' },
            { id: 'b', address: 'b:1', role: 'learner' },
          ],
          configurationIndex: 12,
          bytes,
          sha256: 'f'.repeat(64),
        },
      })
      const answer = (accepted: boolean): SnapshotResponse => ({
        ...envelope('b'),
        kind: 'snapshot-response',
        accepted,
        index: 40,
      })

      it('carries the header, all bytes in order, and the answer', async () => {
        const { a } = await connected()
        const chunks = [1, 200_000, 0, 256 * 1024, 256 * 1024, 7].map((length, at) =>
          new Uint8Array(length).fill(at + 1),
        )
        const parts: Uint8Array[] = []
        const headers: SnapshotHeader[] = []
        ends.b.answer = async (received, stream) => {
          headers.push(received)
          for await (const chunk of stream) parts.push(new Uint8Array(chunk))
          return answer(true)
        }
        const whole = Buffer.concat(chunks)
        const sent = await a.sendSnapshot(
          network.member('b'),
          header(whole.byteLength),
          from(chunks),
        )
        expect(sent).toMatchObject(answer(true))
        expect(headers).toMatchObject([header(whole.byteLength)])
        expect(Buffer.compare(Buffer.concat(parts), whole)).toBe(0)
      })

      it('carries an answer that comes before all was taken', async () => {
        const { a } = await connected()
        ends.b.answer = async () => answer(false)
        const chunks = Array.from({ length: 20 }, () => new Uint8Array(256 * 1024))
        const sent = await a.sendSnapshot(network.member('b'), header(20), from(chunks))
        expect(sent).toMatchObject({ kind: 'snapshot-response', accepted: false })
      })

      it('rejects when the receiver does, or there is nobody', async () => {
        const a = await start('a')
        const send = () => a.sendSnapshot(network.member('b'), header(1), from([new Uint8Array(1)]))
        await expect(send()).rejects.toBeInstanceOf(Error)
        await start('b')
        await connect('a', a)
        ends.b.answer = () => Promise.reject(new Error('the disk is full'))
        await expect(send()).rejects.toBeInstanceOf(Error)
      })

      it('breaks at the receiver when the sender fails in the middle', async () => {
        const { a } = await connected()
        const { outcome, flowing } = receiveAll(ends.b, answer(true))
        async function* failing(): AsyncGenerator<Uint8Array> {
          yield new Uint8Array(10)
          await flowing
          throw new Error('the disk of the sender')
        }
        const sending = a.sendSnapshot(network.member('b'), header(20), failing())
        await expect(sending).rejects.toBeInstanceOf(Error)
        expect(await outcome).toBe('broken')
      })

      it.each(['a', 'b'] as const)('breaks at both when %s stops in the middle', async (id) => {
        const transports = await connected()
        const { outcome, flowing } = receiveAll(ends.b, answer(true))
        async function* endless(): AsyncGenerator<Uint8Array> {
          for (;;) {
            yield new Uint8Array(1_000)
            await new Promise((resolve) => setTimeout(resolve, 2))
          }
        }
        const sending = transports.a
          .sendSnapshot(network.member('b'), header(1e9), endless())
          .catch((error: unknown) => error)
        await flowing
        await transports[id].stop()
        expect(await sending).toBeInstanceOf(Error)
        expect(await outcome).toBe('broken')
      })
    })
  })
}

/** `flowing`: the first bytes are there. `outcome`: how the stream to this end ended. */
function receiveAll(
  end: End,
  answer: RaftMessage,
): { readonly flowing: Promise<void>; readonly outcome: Promise<'whole' | 'broken'> } {
  let isFlowing: () => void = () => undefined
  const flowing = new Promise<void>((resolve) => {
    isFlowing = resolve
  })
  const outcome = new Promise<'whole' | 'broken'>((resolve) => {
    end.answer = async (_header, chunks) => {
      try {
        for await (const _ of chunks) isFlowing()
      } catch (error) {
        resolve('broken')
        throw error
      }
      resolve('whole')
      return answer
    }
  })
  return { flowing, outcome }
}

async function* from(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}

function everyKind(envelope: Envelope): RaftMessage[] {
  const kinds: LogEntryKind[] = ['command', 'no-op', 'configuration', 'state-check']
  const entries = [...kinds, 'state-verdict' as const].map((kind, at) => ({
    index: 5 + at,
    term: 6,
    kind,
    data: Uint8Array.from({ length: at * 3 }, (_, byte) => byte),
  }))
  const log = { lastLogIndex: 2 ** 45, lastLogTerm: 6 }
  const refused = { accepted: false, index: 9, hintIndex: 4, hintTerm: 3 }
  return [
    { ...envelope, kind: 'pre-vote-request', ...log },
    { ...envelope, kind: 'pre-vote-response', granted: true },
    { ...envelope, kind: 'vote-request', ...log, leadershipTransfer: true },
    { ...envelope, kind: 'vote-response', granted: false },
    {
      ...envelope,
      kind: 'append-request',
      prevLogIndex: 4,
      prevLogTerm: 6,
      commitIndex: 2,
      entries,
    },
    { ...envelope, kind: 'append-response', ...refused },
    { ...envelope, kind: 'append-response', accepted: true, index: 9, hintIndex: 0, hintTerm: 0 },
    { ...envelope, kind: 'heartbeat-request', commitIndex: 8, round: 77 },
    { ...envelope, kind: 'heartbeat-response', round: 77 },
    { ...envelope, kind: 'timeout-now', round: 78 },
    { ...envelope, kind: 'state-hash-response', index: 12, hash: 'abc' },
    { ...envelope, term: 2 ** 45, kind: 'vote-response', granted: true },
  ]
}

/** Without what a form of its own may add; bytes by value whatever view they come in. */
function comparable(message: RaftMessage): unknown {
  if (message.kind !== 'append-request') return { ...message }
  const entries = message.entries.map((entry) => ({
    ...entry,
    data: Buffer.from(entry.data).toString('base64'),
  }))
  return { ...message, entries }
}
