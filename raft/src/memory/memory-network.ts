/**
 * A network inside one process. Links can be cut in one direction; what is sent over a cut link is lost.
 * Keeps order, delivers in a later turn of the event loop. Messages are shared, not copied.
 */
import { abortable } from '../abortable.ts'
import type { RaftMember } from '../core/configuration.ts'
import type { RaftMessage, SnapshotHeader } from '../core/messages.ts'
import type { Transport, TransportReceiver } from '../ports/transport.ts'

export class MemoryNetwork {
  readonly #receivers = new Map<string, TransportReceiver>()
  readonly #cutLinks = new Set<string>()
  /** Running snapshots, and how to end them when one of the two stops. */
  readonly #streams = new Map<AbortController, readonly string[]>()

  /** The transport of one member; may be started again after a stop by asking for a new one. */
  transport(nodeId: string): Transport {
    let receiver: TransportReceiver | undefined
    return {
      start: async (started) => {
        if (this.#receivers.has(nodeId)) throw new Error(`${nodeId} is already on the network`)
        receiver = started
        this.#receivers.set(nodeId, started)
      },
      send: (to, messages) => this.#send({ from: nodeId, to: to.id }, messages),
      sendSnapshot: (to, header, chunks) => this.#sendSnapshot(to, header, chunks),
      stop: async () => {
        if (receiver !== undefined && this.#receivers.get(nodeId) === receiver) {
          this.#receivers.delete(nodeId)
          for (const [stream, ends] of this.#streams) {
            if (ends.includes(nodeId)) stream.abort(new Error(`${nodeId} stopped`))
          }
        }
      },
    }
  }

  /** Loses everything from one member to another; the other direction stays. */
  cut(from: string, to: string): void {
    this.#cutLinks.add(linkKey(from, to))
  }

  /** Cuts one member off from some others, both ways. */
  isolate(id: string, others: readonly string[]): void {
    for (const other of others) {
      this.cut(id, other)
      this.cut(other, id)
    }
  }

  heal(): void {
    this.#cutLinks.clear()
  }

  #send(link: { from: string; to: string }, messages: readonly RaftMessage[]): void {
    setImmediate(() => {
      const receiver = this.#reach(link.from, link.to)
      for (const message of messages) receiver?.message(message)
    })
  }

  async #sendSnapshot(
    to: RaftMember,
    header: SnapshotHeader,
    chunks: AsyncIterable<Uint8Array>,
  ): Promise<RaftMessage> {
    const receiver = this.#reach(header.from, to.id)
    if (receiver === undefined) throw new Error(`${to.id} cannot be reached`)
    const stream = new AbortController()
    this.#streams.set(stream, [header.from, to.id])
    try {
      const watched = abortable(this.#watch(header.from, to.id, chunks), stream.signal)
      const answer = await receiver.snapshot(header, watched)
      if (this.#reach(to.id, header.from) === undefined) throw new Error('the answer was lost')
      return answer
    } finally {
      this.#streams.delete(stream)
    }
  }

  async *#watch(
    from: string,
    to: string,
    chunks: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      if (this.#reach(from, to) === undefined) throw new Error('the snapshot stream broke')
      yield chunk
    }
  }

  #reach(from: string, to: string): TransportReceiver | undefined {
    return this.#cutLinks.has(linkKey(from, to)) ? undefined : this.#receivers.get(to)
  }
}

function linkKey(from: string, to: string): string {
  return `${from}>${to}`
}
