/** What operators have settled about MQTT, as it holds now. */

export interface MqttPolicy {
  /** MQTT 5 clients that ask for more, or for none, are told this one; null: as they ask. */
  readonly keepAliveMaxSeconds: number | null
  /** No session is kept for longer after its connection; null: as clients ask. */
  readonly sessionExpiryMaxSeconds: number | null
  /** Told to clients that ask for response information; `%c` and `%u` are levels that stand for names. */
  readonly responseInformation: string | null
  /** Payloads that are said to be UTF-8 are checked. */
  readonly checksPayloadFormat: boolean
}
