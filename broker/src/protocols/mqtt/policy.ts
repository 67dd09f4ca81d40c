/** What operators have settled about MQTT, as it holds now. */
import type { QoS } from './packets.ts'
import type { RewriteRule } from './rewrite.ts'

/** A client that connects more often than `connectsMax` in the window is not let in for a time; null: as it likes. */
export interface FlappingPolicy {
  readonly connectsMax: number | null
  readonly windowMs: number
  readonly banMs: number
}

/** What a client is subscribed to without asking. `%c` and `%u` are levels of the topic that stand for names. */
export interface AutoSubscription {
  readonly topic: string
  readonly qos: QoS
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
}

export interface MqttRules {
  readonly autoSubscriptions: readonly AutoSubscription[]
  /** In the order in which they are tried; another array when they have changed. */
  readonly rewrites: readonly RewriteRule[]
}

export interface MqttPolicy {
  /** MQTT 5 clients that ask for more, or for none, are told this one; null: as they ask. */
  readonly keepAliveMaxSeconds: number | null
  /** No session is kept for longer after its connection; null: as clients ask. */
  readonly sessionExpiryMaxSeconds: number | null
  /** Told to clients that ask for response information; `%c` and `%u` are levels that stand for names. */
  readonly responseInformation: string | null
  /** Payload of a retained message; null: as for others. */
  readonly retainedBytesMax: number | null
  /** `$exclusive/TOPIC` may be subscribed to. */
  readonly hasExclusive: boolean
  /** What happens to clients is published below `$SYS/brokers`. */
  readonly tellsEvents: boolean
  /** Between two times that the `$SYS` tree is published; 0 never. */
  readonly systemSeconds: number
  /** A client that is behind for longer is slow; 0 none is. */
  readonly slowAfterMs: number
  readonly flapping: FlappingPolicy
  /** A session is taken over by the user that has it only. */
  readonly keepsOwner: boolean
  /** A client that sends more than it may is disconnected instead of read slower. */
  readonly disconnectsExcess: boolean
  /** Bytes that wait for a client's socket; above it at-most-once messages to it are dropped. */
  readonly unsentBytesMax: number
  /** Bytes of messages that wait for the window of a live subscriber; above it the client is let go. */
  readonly waitingBytesMax: number
  /** Payloads that are said to be UTF-8 are checked. */
  readonly checksPayloadFormat: boolean
}
