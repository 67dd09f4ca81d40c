/**
 * The `$SYS` tree, with mosquitto's names. Below `$SYS/broker` a client finds the broker that it is connected
 * to, below `$SYS/brokers/NODE` every broker. Values are as of the last time that they were published; who
 * subscribes gets those of this broker at once, as retained ones.
 */
import type { Message } from '../../core/message.ts'
import type { Clock } from '../../core/ports/clock.ts'
import { systemMessage } from './mapping.ts'

/** Present numbers first, then those since the broker began. */
export interface SystemCounts {
  readonly connected: number
  /** Sessions without a connection, on the shards of this broker. */
  readonly offline: number
  readonly subscriptions: number
  readonly retained: number
  /** Retained messages that were not kept, since there are too many. */
  readonly retainedRefused: number
  readonly heapBytes: number
  readonly sharedSubscriptions: number
  /** Messages of QoS 1 and 2 that clients of this broker have not acknowledged. */
  readonly inFlight: number
  /** Messages that are kept on the shards of this broker: in inboxes, and retained. */
  readonly stored: number
  /** Sessions that ended since their clients were away for too long. */
  readonly expired: number
  /** Those that this broker runs. */
  readonly bridges: readonly { readonly name: string; readonly isConnected: boolean }[]
  readonly packetsIn: number
  readonly packetsOut: number
  readonly messagesIn: number
  readonly messagesOut: number
  readonly dropped: number
  readonly payloadIn: number
  readonly payloadOut: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly opened: number
  readonly accepted: number
}

export interface SystemTopicsOptions {
  readonly node: string
  readonly version: string
  readonly clock: Clock
  readonly intervalSeconds: () => number
  readonly counts: () => SystemCounts
  /** To subscribers of this broker only. */
  readonly publishHere: (message: Message) => void
  readonly publish: (message: Message) => void
}

const LOADS = {
  'load/messages/received': 'packetsIn',
  'load/messages/sent': 'packetsOut',
  'load/publish/received': 'messagesIn',
  'load/publish/sent': 'messagesOut',
  'load/publish/dropped': 'dropped',
  'load/bytes/received': 'bytesIn',
  'load/bytes/sent': 'bytesOut',
  'load/sockets': 'opened',
  'load/connections': 'accepted',
} as const satisfies Record<string, Exclude<keyof SystemCounts, 'bridges'>>

const MINUTES = [1, 5, 15] as const

export class SystemTopics {
  readonly #options: SystemTopicsOptions
  readonly #startedMs: number
  /** Moving averages, in events a minute, by topic. */
  readonly #loads = new Map<string, number>()
  #before: SystemCounts | undefined
  #publishedAtMs: number
  #maximum = 0
  #heapMaximum = 0
  #values: ReadonlyMap<string, string> = new Map()

  constructor(options: SystemTopicsOptions) {
    this.#options = options
    this.#startedMs = options.clock.nowMs()
    this.#publishedAtMs = this.#startedMs
  }

  /** Called about every second. */
  tick(): void {
    const { clock, intervalSeconds, counts, publish, publishHere } = this.#options
    const seconds = intervalSeconds()
    const elapsedMs = clock.nowMs() - this.#publishedAtMs
    if (seconds === 0 || elapsedMs < seconds * 1_000) return
    const now = counts()
    this.#average(now, elapsedMs)
    this.#publishedAtMs = clock.nowMs()
    this.#values = this.#valuesOf(now)
    for (const message of this.#messages('$SYS/broker')) publishHere(message)
    for (const message of this.#messages(this.#ofNode)) publish(message)
  }

  /** What a new subscriber gets: the values of this broker that its filter may match. */
  current(): readonly Message[] {
    return [...this.#messages('$SYS/broker'), ...this.#messages(this.#ofNode)]
  }

  get #ofNode(): string {
    return `$SYS/brokers/${this.#options.node}`
  }

  *#messages(prefix: string): Iterable<Message> {
    const nowMs = this.#options.clock.wallMs()
    for (const [name, value] of this.#values) yield systemMessage(`${prefix}/${name}`, value, nowMs)
  }

  #average(now: SystemCounts, elapsedMs: number): void {
    const before = this.#before
    this.#before = now
    for (const [topic, field] of Object.entries(LOADS)) {
      const perMinute = ((now[field] - (before?.[field] ?? 0)) * 60_000) / elapsedMs
      for (const minutes of MINUTES) {
        const weight = Math.exp(-elapsedMs / (minutes * 60_000))
        const name = `${topic}/${minutes}min`
        const last = this.#loads.get(name) ?? 0
        this.#loads.set(name, perMinute + weight * (last - perMinute))
      }
    }
  }

  #valuesOf(now: SystemCounts): ReadonlyMap<string, string> {
    this.#maximum = Math.max(this.#maximum, now.connected)
    this.#heapMaximum = Math.max(this.#heapMaximum, now.heapBytes)
    const uptime = Math.floor((this.#options.clock.nowMs() - this.#startedMs) / 1_000)
    const values: Record<string, number | string> = {
      version: `robust version ${this.#options.version}`,
      uptime: `${uptime} seconds`,
      'clients/total': now.connected + now.offline,
      'clients/connected': now.connected,
      'clients/active': now.connected,
      'clients/disconnected': now.offline,
      'clients/inactive': now.offline,
      'clients/maximum': this.#maximum,
      'clients/expired': now.expired,
      'subscriptions/count': now.subscriptions,
      'shared_subscriptions/count': now.sharedSubscriptions,
      'retained messages/count': now.retained,
      'retained messages/refused': now.retainedRefused,
      'heap/current': now.heapBytes,
      'heap/maximum': this.#heapMaximum,
      'messages/received': now.packetsIn,
      'messages/sent': now.packetsOut,
      'messages/inflight': now.inFlight,
      'messages/stored': now.stored,
      'store/messages/count': now.stored,
      'publish/messages/received': now.messagesIn,
      'publish/messages/sent': now.messagesOut,
      'publish/messages/dropped': now.dropped,
      'publish/bytes/received': now.payloadIn,
      'publish/bytes/sent': now.payloadOut,
      'bytes/received': now.bytesIn,
      'bytes/sent': now.bytesOut,
    }
    for (const { name, isConnected } of now.bridges) {
      values[`connection/${name}/state`] = isConnected ? 1 : 0
    }
    const texts = new Map(Object.entries(values).map(([name, value]) => [name, String(value)]))
    for (const [name, value] of this.#loads) texts.set(name, value.toFixed(2))
    return texts
  }
}
