/**
 * The metadata stream: a snapshot or the changes that were missed, then each change in log order, and a
 * sign of life each second. Served by the leader only. A watcher that does not take what it is sent is
 * dropped, and may come back for what it missed.
 */
import type { ServerWritableStream } from '@grpc/grpc-js'
import type { placement as wire } from '@robust/proto'
import type { Leadership } from '../controllers/leadership.ts'
import { PlacementError } from '../errors.ts'
import type { MetadataChange } from '../metadata/state.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'
import { ChangeRing } from './change-ring.ts'
import { toStatus } from './error-status.ts'
import { toWireChange, toWireMetadata } from './wire.ts'

export interface WatchServiceOptions {
  readonly machine: MetadataMachine
  readonly leadership: Pick<Leadership, 'require'>
  /** Resolves when everything that was committed is applied here. */
  readonly readBarrier: () => Promise<unknown>
  readonly limits?: Partial<WatchLimits>
}

export interface WatchLimits {
  /** Kept for watchers that come back; a change is at most some kilobytes. */
  readonly changesMax: number
  /** That wait for one watcher. */
  readonly waitingMax: number
  readonly keepAliveMs: number
}

const LIMITS: WatchLimits = { changesMax: 1_000, waitingMax: 1_000, keepAliveMs: 1_000 }

type WatchCall = ServerWritableStream<wire.WatchRequest, wire.WatchEvent>

interface Watcher {
  readonly call: WatchCall
  readonly term: number
  waiting: wire.WatchEvent[]
  isFull: boolean
}

export class WatchService {
  readonly #options: WatchServiceOptions
  readonly #limits: WatchLimits
  readonly #ring: ChangeRing
  readonly #watchers = new Set<Watcher>()
  readonly #keepAlive: NodeJS.Timeout

  constructor(options: WatchServiceOptions) {
    this.#options = options
    this.#limits = { ...LIMITS, ...options.limits }
    this.#ring = new ChangeRing(this.#limits.changesMax, options.machine.state.index)
    options.machine.observe({
      changed: (change) => this.#changed(change),
      restored: () => this.#restored(),
    })
    this.#keepAlive = setInterval(() => this.#sayCaughtUp(), this.#limits.keepAliveMs)
  }

  get watchers(): number {
    return this.#watchers.size
  }

  async watch(call: WatchCall): Promise<void> {
    try {
      const { leadership, readBarrier } = this.#options
      const session = leadership.require()
      await readBarrier()
      if (leadership.require() !== session) throw new PlacementError('NO_LEADER', 'a new term')
      if (!call.cancelled) this.#begin(call, session.term)
    } catch (error) {
      endWith(call, error)
    }
  }

  /** Ends every stream: this member does not lead, or stops. */
  end(error: PlacementError): void {
    for (const watcher of [...this.#watchers]) this.#drop(watcher, error)
  }

  stop(): void {
    clearInterval(this.#keepAlive)
    this.end(new PlacementError('NO_LEADER', 'this member stops'))
  }

  /** Synchronous from the state to the registration, so that no change falls between. */
  #begin(call: WatchCall, term: number): void {
    const watcher: Watcher = { call, term, waiting: [], isFull: false }
    const { state } = this.#options.machine
    const { afterIndex } = call.request
    // An index from the future is of another history: begin afresh.
    const missed =
      afterIndex > 0 && afterIndex <= state.index ? this.#ring.after(afterIndex) : undefined
    this.#watchers.add(watcher)
    call.on('drain', () => this.#drain(watcher))
    call.on('cancelled', () => this.#watchers.delete(watcher))
    call.on('error', () => this.#watchers.delete(watcher))
    if (missed === undefined) {
      this.#send(watcher, state.index, { $case: 'snapshot', value: toWireMetadata(state) })
    } else {
      for (const { index, change } of missed) {
        this.#send(watcher, index, { $case: 'change', value: change })
      }
    }
    this.#send(watcher, state.index, { $case: 'caughtUp', value: true })
  }

  #changed(change: MetadataChange): void {
    const numbered = { index: change.index, change: toWireChange(change) }
    this.#ring.add(numbered)
    for (const watcher of [...this.#watchers]) {
      this.#send(watcher, numbered.index, { $case: 'change', value: numbered.change })
    }
  }

  #restored(): void {
    this.#ring.reset(this.#options.machine.state.index)
    // Only a follower is sent a snapshot, and a follower has no watchers; should that change, they reload.
    this.end(new PlacementError('NO_LEADER', 'the metadata was replaced'))
  }

  #sayCaughtUp(): void {
    const { index } = this.#options.machine.state
    for (const watcher of [...this.#watchers]) {
      if (!watcher.isFull) this.#send(watcher, index, { $case: 'caughtUp', value: true })
    }
  }

  #send(watcher: Watcher, index: number, kind: NonNullable<wire.WatchEvent['kind']>): void {
    const event = { index, placementTerm: watcher.term, kind }
    if (!watcher.isFull) {
      watcher.isFull = !watcher.call.write(event)
      return
    }
    watcher.waiting.push(event)
    if (watcher.waiting.length <= this.#limits.waitingMax) return
    this.#drop(watcher, new PlacementError('SLOW_WATCHER', 'too many changes wait to be taken'))
  }

  #drain(watcher: Watcher): void {
    watcher.isFull = false
    const waiting = watcher.waiting
    watcher.waiting = []
    for (const event of waiting) {
      if (watcher.isFull) watcher.waiting.push(event)
      else watcher.isFull = !watcher.call.write(event)
    }
  }

  #drop(watcher: Watcher, error: PlacementError): void {
    if (!this.#watchers.delete(watcher)) return
    watcher.waiting = []
    endWith(watcher.call, error)
  }
}

function endWith(call: WatchCall, error: unknown): void {
  const details = error instanceof Error ? error.message : String(error)
  call.emit('error', Object.assign(new Error(details), toStatus(error)))
}
