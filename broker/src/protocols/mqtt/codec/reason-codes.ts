// Which reason codes each packet may carry (MQTT 5.0 table 2-6), and the return codes that stand for
// them in the CONNACK of 3.x.

import { PacketType, ReasonCode } from '../packets.ts'
import { violation } from './mqtt-error.ts'

const PUBLISH_CODES = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]
const RELEASE_CODES = [0x00, 0x92]

interface Rule {
  clause: string
  codes: ReadonlySet<number>
}

const RULES = new Map<number, Rule>([
  [
    PacketType.connack,
    rule('[MQTT-3.2.2-8]', [
      ...[0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a],
      ...[0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f],
    ]),
  ],
  [PacketType.puback, rule('[MQTT-3.4.2-1]', PUBLISH_CODES)],
  [PacketType.pubrec, rule('[MQTT-3.5.2-1]', PUBLISH_CODES)],
  [PacketType.pubrel, rule('[MQTT-3.6.2-1]', RELEASE_CODES)],
  [PacketType.pubcomp, rule('[MQTT-3.7.2-1]', RELEASE_CODES)],
  [
    PacketType.suback,
    rule('[MQTT-3.9.3-2]', [
      ...[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
    ]),
  ],
  [PacketType.unsuback, rule('[MQTT-3.11.3-2]', [0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91])],
  [
    PacketType.disconnect,
    rule('[MQTT-3.14.2-1]', [
      ...[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90],
      ...[0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f],
      ...[0xa0, 0xa1, 0xa2],
    ]),
  ],
  [PacketType.auth, rule('[MQTT-3.15.2-1]', [0x00, 0x18, 0x19])],
])

function rule(clause: string, codes: readonly number[]): Rule {
  return { clause, codes: new Set(codes) }
}

/** Returns the code when a packet of this type may carry it, throws MqttError otherwise. */
export function requireReasonCode(type: number, code: number): number {
  const found = RULES.get(type)
  if (found !== undefined && !found.codes.has(code)) {
    throw violation(found.clause, `reason code 0x${code.toString(16)} in packet type ${type}`)
  }
  return code
}

const CONNACK_RETURN_CODES: readonly number[] = [
  ReasonCode.success,
  ReasonCode.unsupportedProtocolVersion,
  ReasonCode.clientIdentifierNotValid,
  ReasonCode.serverUnavailable,
  ReasonCode.badUserNameOrPassword,
  ReasonCode.notAuthorized,
]

/** What a return code in the CONNACK of 3.x means, undefined when it is reserved. */
export function reasonOfConnackReturnCode(returnCode: number): number | undefined {
  return CONNACK_RETURN_CODES[returnCode]
}

/**
 * The 3.x return code for an MQTT 5 reason code. Refusals that 3.x has no code for are "server
 * unavailable" when trying again can help and "not authorized" when it cannot.
 */
export function connackReturnCode(reasonCode: number): number {
  const exact = CONNACK_RETURN_CODES.indexOf(reasonCode)
  if (exact >= 0) return exact
  const lasting: readonly number[] = [ReasonCode.banned, ReasonCode.badAuthenticationMethod]
  return lasting.includes(reasonCode) ? 5 : 3
}
