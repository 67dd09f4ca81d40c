// The one error that decoding throws: a peer's fault, with the reason code to answer and the clause
// that was broken. Clauses are those of MQTT 5.0, unless the rule exists only in an older version
// (then the clause says so). Rules without a number name their section.

import { ReasonCode } from '../packets.ts'

export class MqttError extends Error {
  override readonly name = 'MqttError'
  /** An MQTT 5 reason code for CONNACK or DISCONNECT. */
  readonly reasonCode: number
  /** For example `[MQTT-3.3.1-4]` or `[MQTT 5.0 section 3.3.2.1]`. */
  readonly clause: string

  constructor(reasonCode: number, clause: string, message: string) {
    super(`${message} ${clause}`)
    this.reasonCode = reasonCode
    this.clause = clause
  }
}

/** The bytes cannot be read as the specification says. */
export function malformed(clause: string, message: string): MqttError {
  return new MqttError(ReasonCode.malformedPacket, clause, message)
}

/** The bytes can be read, but say what is not allowed. */
export function violation(clause: string, message: string): MqttError {
  return new MqttError(ReasonCode.protocolError, clause, message)
}
