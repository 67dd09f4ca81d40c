/**
 * The metadata stream: a snapshot or the changes that were missed, then each change in log order, and a
 * sign of life each second. Served by the leader only. A watcher that does not take what it is sent is
 * dropped, and may come back for what it missed.
 *
 * The resources of a snapshot follow in pages, a slice a turn. Changes are sent between the pages as they
 * happen: a page is what is true at its place in the stream, so whatever comes last holds.
 */
import type { ServerWritableStream } from '@grpc/grpc-js'
import type { placement as wire } from '@robust/proto'
import type { Leadership } from '../controllers/leadership.ts'
import { PlacementError } from '../errors.ts'
import type { Resource } from '../metadata/resources.ts'
import { generationOf } from '../metadata/revision.ts'
import { type MetadataChange, revisionOf } from '../metadata/state.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'
import { ChangeRing, type NumberedChange } from './change-ring.ts'
import { toStatus } from './error-status.ts'
import { mergeChanges } from './merge-changes.ts'
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
  /** Resources in a page: encoded in about a millisecond. */
  readonly pageResources: number
}

const LIMITS: WatchLimits = {
  changesMax: 5_000,
  waitingMax: 5_000,
  keepAliveMs: 1_000,
  pageResources: 500,
}

type WatchCall = ServerWritableStream<wire.WatchRequest, wire.WatchEvent>
type EventKind = NonNullable<wire.WatchEvent['kind']>

interface Watcher {
  readonly call: WatchCall
  /** As brokers know it. */
  readonly term: number
  waiting: wire.WatchEvent[]
  isFull: boolean
  /** What a snapshot still owes. */
  owed: Iterator<Resource> | undefined
}

export class WatchService {
  readonly #options: WatchServiceOptions
  readonly #limits: WatchLimits
  readonly #ring: ChangeRing
  readonly #watchers = new Set<Watcher>()
  readonly #keepAlive: NodeJS.Timeout
  #generation: number
  #isPaging = false
  /** Of this turn: told together at its end. */
  #pending: NumberedChange[] = []

  constructor(options: WatchServiceOptions) {
    this.#options = options
    this.#limits = { ...LIMITS, ...options.limits }
    this.#ring = new ChangeRing(this.#limits.changesMax, this.#revision)
    this.#generation = options.machine.state.generation
    options.machine.observe({
      changed: (change) => this.#changed(change),
      restored: () => this.#replaced(this.#revision),
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
      if (!call.cancelled) this.#begin(call, session.authorityTerm)
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

  get #revision(): number {
    return revisionOf(this.#options.machine.state)
  }

  /** Synchronous from the state to the registration, so that no change falls between. */
  #begin(call: WatchCall, term: number): void {
    this.#flush()
    const watcher: Watcher = { call, term, waiting: [], isFull: false, owed: undefined }
    const { state } = this.#options.machine
    const { afterIndex } = call.request
    // An index from the future is of another history: begin afresh.
    const missed =
      afterIndex > 0 && afterIndex <= this.#revision ? this.#ring.after(afterIndex) : undefined
    this.#watchers.add(watcher)
    call.on('drain', () => this.#drain(watcher))
    call.on('cancelled', () => this.#watchers.delete(watcher))
    call.on('error', () => this.#watchers.delete(watcher))
    if (missed === undefined) {
      watcher.owed = state.resources.all()
      this.#send(watcher, this.#revision, { $case: 'snapshot', value: toWireMetadata(state) })
      this.#page(watcher)
      this.#pageSoon()
      return
    }
    for (const { index, change } of mergeChanges(missed)) {
      this.#send(watcher, index, { $case: 'change', value: change })
    }
    this.#send(watcher, this.#revision, { $case: 'caughtUp', value: true })
  }

  #pageSoon(): void {
    if (this.#isPaging) return
    this.#isPaging = true
    setImmediate(() => {
      this.#isPaging = false
      this.#flush()
      for (const watcher of [...this.#watchers]) this.#page(watcher)
      if ([...this.#watchers].some(isWaitingForPage)) this.#pageSoon()
    })
  }

  /** The next page, if one is owed and would be taken. */
  #page(watcher: Watcher): void {
    const { owed } = watcher
    if (owed === undefined || watcher.isFull) return
    const resources: Resource[] = []
    let last = false
    while (resources.length < this.#limits.pageResources && !last) {
      const next = owed.next()
      if (next.done === true) last = true
      else resources.push(next.value)
    }
    this.#send(watcher, this.#revision, { $case: 'resources', value: { resources, last } })
    if (!last) return
    watcher.owed = undefined
    this.#send(watcher, this.#revision, { $case: 'caughtUp', value: true })
  }

  #changed(change: MetadataChange): void {
    const generation = generationOf(change.revision)
    if (generation !== this.#generation) {
      this.#generation = generation
      this.#replaced(change.revision)
      return
    }
    const numbered = { index: change.revision, change: toWireChange(change) }
    this.#ring.add(numbered)
    if (this.#pending.length === 0) setImmediate(() => this.#flush())
    this.#pending.push(numbered)
  }

  #flush(): void {
    const pending = this.#pending
    this.#pending = []
    if (this.#watchers.size === 0) return
    for (const { index, change } of mergeChanges(pending)) {
      this.#tellAll(index, { $case: 'change', value: change })
    }
  }

  /** One event for all watchers, so that it is encoded once. */
  #tellAll(index: number, kind: EventKind): void {
    let event: wire.WatchEvent | undefined
    for (const watcher of [...this.#watchers]) {
      if (event?.placementTerm !== watcher.term) {
        event = { index, placementTerm: watcher.term, kind }
      }
      this.#write(watcher, event)
    }
  }

  /** What watchers know may be of another history, so they load everything again. */
  #replaced(revision: number): void {
    this.#pending = []
    this.#ring.reset(revision)
    this.#generation = generationOf(revision)
    this.end(new PlacementError('NO_LEADER', 'the metadata was replaced'))
  }

  #sayCaughtUp(): void {
    this.#flush()
    for (const watcher of [...this.#watchers]) {
      if (watcher.isFull || watcher.owed !== undefined) continue
      this.#send(watcher, this.#revision, { $case: 'caughtUp', value: true })
    }
  }

  #send(watcher: Watcher, index: number, kind: EventKind): void {
    this.#write(watcher, { index, placementTerm: watcher.term, kind })
  }

  #write(watcher: Watcher, event: wire.WatchEvent): void {
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
    if (watcher.owed !== undefined) this.#pageSoon()
  }

  #drop(watcher: Watcher, error: PlacementError): void {
    if (!this.#watchers.delete(watcher)) return
    watcher.waiting = []
    watcher.owed = undefined
    endWith(watcher.call, error)
  }
}

function isWaitingForPage({ owed, isFull }: Watcher): boolean {
  return owed !== undefined && !isFull
}

function endWith(call: WatchCall, error: unknown): void {
  const details = error instanceof Error ? error.message : String(error)
  call.emit('error', Object.assign(new Error(details), toStatus(error)))
}
