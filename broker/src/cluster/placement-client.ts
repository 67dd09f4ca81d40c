/**
 * This broker's side of the Placement Center: registration, heartbeats, the watch, reports on shards. Finds
 * the leader by itself and goes on when it changes. Keeps trying for ever; `onTrouble` says what is wrong.
 */
import { credentials, type Interceptor, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { placement } from '@robust/proto'
import { ACKNOWLEDGE_GRACE_MS } from '../core/limits.ts'
import { CHANNEL_OPTIONS } from './channel-options.ts'
import type { MetadataCache } from './metadata-cache.ts'

/** Sees each call of ours as it begins and ends. */
export type CallObserver = Interceptor

export interface PlacementClientOptions {
  /** `host:port` of Placement Center nodes; any of them will do. */
  readonly addresses: readonly string[]
  readonly registration: placement.RegisterRequest
  readonly metadata: MetadataCache
  readonly report: () => placement.RuntimeReport
  /** The Placement Center does not know this registration any more; a new one has been made. */
  readonly onReregistered: () => void
  /** A heartbeat was answered: the registration holds, and has held all the time. */
  readonly onRenewed: () => void
  readonly onTrouble: (address: string, error: Error) => void
  readonly observer?: CallObserver
}

const NO_METADATA = new Metadata()
const CALL_TIMEOUT_MS = 2_000
/** A change of leaders takes up to four seconds. */
const ASK_MS = 8_000
const RETRY_MS = 200
/** The leader says something on the watch every second; after this silence the stream is dead. */
const WATCH_SILENCE_MS = 4_000
/** Of the lease, for clocks that run at different speeds; plus a fixed part for the scheduler. */
const DRIFT_FRACTION = 0.05
const MARGIN_MS = 500

export class PlacementClient {
  readonly #options: PlacementClientOptions
  readonly #clients = new Map<string, placement.PlacementClient>()
  /** Where to ask, the presumed leader first. */
  #addresses: string[]
  #nodeEpoch = 0
  #leaseTtlMs = 0
  #heartbeatMs = 500
  /** Monotonic time at which the last answered heartbeat was sent. */
  #renewedAtMs = 0
  #term = 0
  #watch: { cancel(): void } | undefined
  #watchHeardMs = 0
  #beat: NodeJS.Timeout | undefined
  #watchRetry: NodeJS.Timeout | undefined
  #stopped = false
  #caughtUp: (() => void) | undefined

  constructor(options: PlacementClientOptions) {
    this.#options = options
    this.#addresses = [...options.addresses]
  }

  get nodeEpoch(): number {
    return this.#nodeEpoch
  }

  /** The newest term that a leader has named. */
  get term(): number {
    return this.#term
  }

  get silenceMs(): number {
    return Math.round(performance.now() - this.#renewedAtMs)
  }

  /** Counted from the send of the last answered heartbeat. */
  get leaseValid(): boolean {
    const usable = this.#leaseTtlMs * (1 - DRIFT_FRACTION) - MARGIN_MS
    return this.#nodeEpoch !== 0 && performance.now() - this.#renewedAtMs < usable
  }

  /**
   * Whether this broker may acknowledge by what it knows: nobody has told a subscriber yet that this broker
   * need not be waited for. Asked at the moment of the acknowledgement, since the process may have been paused.
   */
  get mayAcknowledge(): boolean {
    const usable = (this.#leaseTtlMs + ACKNOWLEDGE_GRACE_MS) * (1 - DRIFT_FRACTION) - MARGIN_MS
    return this.#nodeEpoch !== 0 && performance.now() - this.#renewedAtMs < usable
  }

  /** Registers, then loads the metadata and follows it. Resolves when all that was committed is known. */
  async start(): Promise<void> {
    await this.#register()
    const caughtUp = new Promise<void>((resolve) => {
      this.#caughtUp = resolve
    })
    this.#follow()
    this.#scheduleBeat()
    await caughtUp
  }

  async shardsOpened(shards: placement.OpenedShard[]): Promise<readonly number[]> {
    const request = { nodeId: this.#options.metadata.self, nodeEpoch: this.#nodeEpoch, shards }
    const reply = await this.#persist<placement.ShardsOpenedReply>((client, done) =>
      client.shardsOpened(request, NO_METADATA, deadline(), done),
    )
    return reply?.refused ?? []
  }

  async shardsReleased(shards: placement.ReleasedShard[]): Promise<void> {
    const request = { nodeId: this.#options.metadata.self, nodeEpoch: this.#nodeEpoch, shards }
    await this.#persist<placement.ShardsReleasedReply>((client, done) =>
      client.shardsReleased(request, NO_METADATA, deadline(), done),
    )
  }

  /**
   * A call that the leader answers, tried again for a few seconds. Rejects with the ServiceError: one that asking again
   * would not mend at once.
   */
  async ask<T>(invoke: Invoke<T>): Promise<T> {
    const untilMs = performance.now() + ASK_MS
    for (;;) {
      try {
        return await this.#call(invoke, isDefinite)
      } catch (error) {
        const isOver = performance.now() > untilMs || this.#stopped
        if (isOver || isDefinite(error as ServiceError)) throw error
        await pause(RETRY_MS)
      }
    }
  }

  /** Leaves the cluster; gives up after a few tries, since the time-out does the same a little later. */
  async deregister(reason: string): Promise<void> {
    this.#halt()
    const request = { nodeId: this.#options.metadata.self, nodeEpoch: this.#nodeEpoch, reason }
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        await this.#call<placement.DeregisterReply>((client, done) =>
          client.deregister(request, NO_METADATA, deadline(), done),
        )
        return
      } catch {
        await pause(RETRY_MS)
      }
    }
  }

  stop(): void {
    this.#halt()
    for (const client of this.#clients.values()) client.close()
    this.#clients.clear()
  }

  #halt(): void {
    this.#stopped = true
    clearTimeout(this.#beat)
    clearTimeout(this.#watchRetry)
    this.#watch?.cancel()
  }

  /** `registered` runs before anything may be acknowledged under the new registration. */
  async #register(registered: () => void = () => undefined): Promise<void> {
    const { registration } = this.#options
    const sentAt = performance.now()
    const reply = await this.#persist<placement.RegisterReply>((client, done) =>
      client.register(registration, NO_METADATA, deadline(), done),
    )
    if (reply === undefined) return
    this.#learn(reply.placementAddresses)
    this.#nodeEpoch = reply.nodeEpoch
    this.#leaseTtlMs = reply.leaseTtlMs
    this.#heartbeatMs = reply.heartbeatMs
    registered()
    this.#renewedAtMs = sentAt
  }

  #scheduleBeat(delayMs = this.#heartbeatMs): void {
    if (this.#stopped) return
    this.#beat = setTimeout(() => void this.#heartbeat(), delayMs)
  }

  async #heartbeat(): Promise<void> {
    const { registration, metadata, report } = this.#options
    // Ends the stream with an error, which begins another one.
    if (performance.now() - this.#watchHeardMs > WATCH_SILENCE_MS) this.#watch?.cancel()
    const sentAt = performance.now()
    const request = {
      nodeId: registration.nodeId,
      incarnation: registration.incarnation,
      nodeEpoch: this.#nodeEpoch,
      report: report(),
      metadataIndex: metadata.index,
    }
    try {
      const reply = await this.#call<placement.HeartbeatReply>((client, done) =>
        client.heartbeat(request, NO_METADATA, deadline(Math.max(this.#heartbeatMs, 400)), done),
      )
      this.#term = Math.max(this.#term, reply.placementTerm)
      this.#learn(reply.placementAddresses)
      if (!reply.registered) {
        this.#renewedAtMs = Number.NEGATIVE_INFINITY
        await this.#register(() => this.#options.onReregistered())
      } else {
        this.#leaseTtlMs = reply.leaseTtlMs
        this.#renewedAtMs = sentAt
        this.#options.onRenewed()
      }
      this.#scheduleBeat(Math.max(0, this.#heartbeatMs - (performance.now() - sentAt)))
    } catch {
      this.#scheduleBeat(RETRY_MS)
    }
  }

  #follow(): void {
    if (this.#stopped) return
    const { metadata } = this.#options
    const client = this.#client(this.#addresses[0] as string)
    const stream = client.watch({ nodeId: metadata.self, afterIndex: metadata.resumeIndex })
    this.#watch = stream
    this.#watchHeardMs = performance.now()
    let over = false
    const again = (error?: Error): void => {
      if (over || this.#stopped) return
      over = true
      stream.cancel()
      if (error !== undefined) this.#failed(this.#addresses[0] as string, error as ServiceError)
      this.#watchRetry = setTimeout(() => this.#follow(), RETRY_MS)
    }
    stream.on('data', (event: placement.WatchEvent) => {
      this.#watchHeardMs = performance.now()
      if (!over) this.#event(event)
    })
    stream.on('error', again)
    stream.on('end', () => again())
  }

  #event(event: placement.WatchEvent): void {
    const { metadata } = this.#options
    this.#term = Math.max(this.#term, event.placementTerm)
    switch (event.kind?.$case) {
      case 'snapshot':
        metadata.replace(event.index, event.kind.value)
        break
      case 'change':
        metadata.apply(event.index, event.kind.value)
        break
      case 'resources':
        metadata.page(event.kind.value)
        break
      case 'caughtUp':
        this.#caughtUp?.()
        this.#caughtUp = undefined
        break
      default:
        break
    }
  }

  /**
   * Where the Placement Center's nodes are now. Those of the command line stay, as the last to be asked: they
   * are what a person said, and may lead back when all others are gone.
   */
  #learn(members: readonly string[]): void {
    if (members.length === 0) return
    const wanted = new Set([...members, ...this.#options.addresses])
    if (wanted.size === this.#addresses.length && this.#addresses.every((each) => wanted.has(each)))
      return
    const kept = this.#addresses.filter((address) => members.includes(address))
    this.#addresses = [...new Set([...kept, ...wanted])]
    for (const [address, client] of this.#clients) {
      if (wanted.has(address)) continue
      this.#clients.delete(address)
      client.close()
    }
  }

  /** Repeats a call until it is answered; undefined when this broker stops. */
  async #persist<T>(invoke: Invoke<T>): Promise<T | undefined> {
    while (!this.#stopped) {
      try {
        return await this.#call(invoke)
      } catch {
        await pause(RETRY_MS)
      }
    }
    return undefined
  }

  /** One try at each node that is not known to follow somebody else, beginning with the presumed leader. */
  async #call<T>(
    invoke: Invoke<T>,
    isAnswer: (error: ServiceError) => boolean = () => false,
  ): Promise<T> {
    let last: Error = new Error('no Placement Center address is known')
    for (let attempt = 0; attempt < this.#addresses.length; attempt++) {
      const address = this.#addresses[0] as string
      try {
        return await new Promise<T>((resolve, reject) => {
          invoke(this.#client(address), (error, reply) => {
            if (error) reject(error)
            else resolve(reply)
          })
        })
      } catch (error) {
        last = error as Error
        if (isAnswer(error as ServiceError)) throw error
        this.#failed(address, error as ServiceError)
      }
    }
    throw last
  }

  /** Puts the leader that a follower named first, or else another node. */
  #failed(address: string, error: ServiceError): void {
    if (this.#addresses[0] !== address) return
    const leader = error.metadata?.get('leader-address')[0]?.toString()
    const rest = this.#addresses.filter((known) => known !== address && known !== leader)
    if (leader !== undefined && leader !== '' && leader !== address) {
      this.#addresses = [leader, ...rest, address]
      return
    }
    this.#addresses = [...rest, address]
    if (error.code !== status.FAILED_PRECONDITION) this.#options.onTrouble(address, error)
  }

  #client(address: string): placement.PlacementClient {
    let client = this.#clients.get(address)
    if (client === undefined) {
      const { observer } = this.#options
      const options = { ...CHANNEL_OPTIONS, ...(observer && { interceptors: [observer] }) }
      client = new placement.PlacementClient(address, credentials.createInsecure(), options)
      this.#clients.set(address, client)
    }
    return client
  }
}

/** The leader has decided. */
function isDefinite({ code }: ServiceError): boolean {
  return DEFINITE.has(code)
}

const DEFINITE: ReadonlySet<status> = new Set([
  status.ABORTED,
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.RESOURCE_EXHAUSTED,
])

type Invoke<T> = (
  client: placement.PlacementClient,
  done: (error: ServiceError | null, reply: T) => void,
) => unknown

function deadline(ms = CALL_TIMEOUT_MS): { deadline: number } {
  return { deadline: Date.now() + ms }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
