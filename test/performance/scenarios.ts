// What is measured, and what each figure means. All messages have 64 bytes of payload, all sessions
// are clean MQTT 3.1.1, broker and load run on one core each where the machine allows it. Every
// scenario runs 0.5 s before it counts, and every message must arrive once and in order.

export type LoadMode =
  | 'throughput'
  | 'paced'
  | 'latency'
  | 'connect'
  | 'memory'
  | 'offline'
  | 'subscriptions'
  | 'retained'

/** One line of the load program's output; which fields it has depends on the mode. */
export interface LoadResult {
  seconds?: number
  delivered?: number
  expected?: number
  received?: number
  disorder?: number
  /** Share of one core, 1 is all of it. */
  brokerCpu?: number
  loadCpu?: number
  cpuMicrosPerMessage?: number
  p50Micros?: number
  p99Micros?: number
  connectsPerSecond?: number
  bytesPerConnection?: number
  queuedPerSecond?: number
  published?: number
  bytesPerSubscription?: number
  firstMs?: number
  worstPingMs?: number
  /** Of all the broker's processes, when everything is queued. */
  rssBytesQueued?: number
}

export interface Metric {
  /** The name in the table. */
  label: string
  unit: string
  better: 'higher' | 'lower'
  value: (result: LoadResult) => number | undefined
}

export interface Scenario {
  name: string
  mode: LoadMode
  settings: Record<string, number>
  metrics: Metric[]
  /** Needs a broker that has done nothing before. */
  fresh: boolean
  /** Peers that can keep messages on disk do so. */
  persistent?: boolean
}

const delivered = (label: string): Metric => ({
  label,
  unit: 'msg/s',
  better: 'higher',
  value: (result) => result.delivered,
})

/** Processor time of the broker, all its processes and threads, user and system. */
const cpuPerMessage = (label: string): Metric => ({
  label: `${label}, broker CPU per message`,
  unit: 'µs',
  better: 'lower',
  value: (result) => result.cpuMicrosPerMessage,
})

export const SCENARIOS: Scenario[] = [
  {
    // Resident memory that 10,000 connections with a subscription each add, per connection. 4,000 come
    // and go before, 200 at a time, so that what is allocated once is not counted.
    name: 'memory',
    mode: 'memory',
    settings: { connections: 10_000 },
    metrics: [
      {
        label: 'memory per idle connection',
        unit: 'KiB',
        better: 'lower',
        value: (result) => scaled(result.bytesPerConnection, 1 / 1024),
      },
    ],
    fresh: true,
  },
  {
    // Ten publishers with one subscriber each, QoS 0, packets written twenty at a time; at most
    // 1,000 messages of a publisher are on their way, so no broker has a reason to drop one.
    name: 'qos0',
    mode: 'throughput',
    settings: { publishers: 10, window: 1000, batch: 20 },
    metrics: [delivered('QoS 0, 10 pairs'), cpuPerMessage('QoS 0, 10 pairs')],
    fresh: false,
  },
  {
    // The same with QoS 1 both ways: at most 20 messages of a publisher are not acknowledged yet.
    name: 'qos1',
    mode: 'throughput',
    settings: { publishers: 10, qos: 1, window: 1000, inflight: 20, batch: 20 },
    metrics: [delivered('QoS 1, 10 pairs'), cpuPerMessage('QoS 1, 10 pairs')],
    fresh: false,
  },
  {
    // One publisher, twenty subscribers of its topic, QoS 0. Counts deliveries.
    name: 'fanout',
    mode: 'throughput',
    settings: { publishers: 1, subscribers: 20, window: 1000, batch: 20 },
    metrics: [delivered('fan-out 1 to 20'), cpuPerMessage('fan-out 1 to 20')],
    fresh: false,
  },
  {
    // The same with QoS 2 both ways.
    name: 'qos2',
    mode: 'throughput',
    settings: { publishers: 10, qos: 2, window: 1000, inflight: 20, batch: 20 },
    metrics: [delivered('QoS 2, 10 pairs'), cpuPerMessage('QoS 2, 10 pairs')],
    fresh: false,
  },
  {
    name: 'fanout100',
    mode: 'throughput',
    settings: { publishers: 1, subscribers: 100, window: 1000, batch: 20 },
    metrics: [delivered('fan-out 1 to 100'), cpuPerMessage('fan-out 1 to 100')],
    fresh: false,
  },
  {
    name: 'fanout1000',
    mode: 'throughput',
    settings: { publishers: 1, subscribers: 1000, window: 200, batch: 20 },
    metrics: [delivered('fan-out 1 to 1,000'), cpuPerMessage('fan-out 1 to 1,000')],
    fresh: false,
  },
  {
    // A thousand publishers, each with one message that is not acknowledged; one subscriber of all, QoS 1.
    name: 'fanin',
    mode: 'throughput',
    settings: { publishers: 1000, fanIn: 1, qos: 1, window: 1000, inflight: 1, batch: 1 },
    metrics: [delivered('fan-in 1,000 to 1, QoS 1, one in flight')],
    fresh: false,
  },
  {
    // QoS 1 to sessions that outlive their connection: ours syncs each message before it is acknowledged, mosquitto
    // writes its database once in a while.
    name: 'durable',
    mode: 'throughput',
    settings: { publishers: 10, qos: 1, durable: 1, window: 1000, inflight: 100, batch: 20 },
    metrics: [delivered('QoS 1 to durable sessions, 10 pairs')],
    fresh: true,
    persistent: true,
  },
  {
    // 500 pairs as below, from the publisher's write to the subscriber's read.
    name: 'pairs500latency',
    mode: 'latency',
    settings: { publishers: 500, rate: 10_000, tickMicros: 1000 },
    metrics: [
      {
        label: '500 pairs, latency p50',
        unit: 'µs',
        better: 'lower',
        value: (result) => result.p50Micros,
      },
      {
        label: '500 pairs, latency p99',
        unit: 'µs',
        better: 'lower',
        value: (result) => result.p99Micros,
      },
    ],
    fresh: false,
  },
  {
    // A million messages for a durable session whose client is away, and then all of them to it.
    name: 'offline',
    mode: 'offline',
    settings: { publishers: 10, qos: 1, inflight: 1000, batch: 100, messages: 1_000_000 },
    metrics: [
      {
        label: 'queued for an offline session',
        unit: 'msg/s',
        better: 'higher',
        value: (result) => result.queuedPerSecond,
      },
      delivered('1,000,000 queued messages to the client that is back'),
      {
        label: 'memory with 1,000,000 queued',
        unit: 'MiB',
        better: 'lower',
        value: (result) => scaled(result.rssBytesQueued, 1 / 1024 ** 2),
      },
    ],
    fresh: true,
    persistent: true,
  },
  {
    // A million subscriptions of a thousand clients, one in ten with a wildcard; QoS 0 to addresses that do not come
    // again for a million messages, of which one in 50 has a subscriber: what is measured is finding that out.
    name: 'subscriptions',
    mode: 'subscriptions',
    settings: { connections: 1000, messages: 1_000_000, publishers: 4, window: 20_000, batch: 50 },
    metrics: [
      {
        label: '1,000,000 subscriptions, messages matched',
        unit: 'msg/s',
        better: 'higher',
        value: (result) => result.published,
      },
      {
        label: '1,000,000 subscriptions, memory of one',
        unit: 'B',
        better: 'lower',
        value: (result) => result.bytesPerSubscription,
      },
    ],
    fresh: true,
  },
  {
    // 100,000 retained messages for a new subscription of all; another client pings meanwhile.
    name: 'retained',
    mode: 'retained',
    settings: { messages: 100_000 },
    metrics: [
      {
        label: '100,000 retained, first message',
        unit: 'ms',
        better: 'lower',
        value: (result) => result.firstMs,
      },
      {
        label: '100,000 retained, latest answer to a ping meanwhile',
        unit: 'ms',
        better: 'lower',
        value: (result) => result.worstPingMs,
      },
      delivered('100,000 retained, to one subscriber'),
    ],
    fresh: true,
    persistent: true,
  },
  {
    // 500 publishers with one subscriber each, QoS 0, 20 messages a second each and one per write,
    // spread evenly over the publishers and sent at every millisecond. A broker that is not busy
    // shows here what a message costs it; the rate is the same for all.
    name: 'pairs500',
    mode: 'paced',
    settings: { publishers: 500, rate: 10_000, tickMicros: 1000 },
    metrics: [cpuPerMessage('500 pairs')],
    fresh: false,
  },
  {
    // From the publisher's write to the subscriber's read at 2,000 messages a second, one by one.
    name: 'latency',
    mode: 'latency',
    settings: { publishers: 1, rate: 2000, tickMicros: 0 },
    metrics: [
      {
        label: 'latency at 2,000/s, p50',
        unit: 'µs',
        better: 'lower',
        value: (result) => result.p50Micros,
      },
      {
        label: 'latency at 2,000/s, p99',
        unit: 'µs',
        better: 'lower',
        value: (result) => result.p99Micros,
      },
    ],
    fresh: false,
  },
  {
    // TCP connect, CONNECT, CONNACK, DISCONNECT, close; 50 at any time.
    name: 'connect',
    mode: 'connect',
    settings: { connections: 50 },
    metrics: [
      {
        label: 'connections, 50 at a time',
        unit: '1/s',
        better: 'higher',
        value: (result) => result.connectsPerSecond,
      },
    ],
    fresh: false,
  },
]

function scaled(value: number | undefined, factor: number): number | undefined {
  return value === undefined ? undefined : value * factor
}
