/**
 * Which clusters a message has left by a bridge, in a user property: so that it comes to none a second time,
 * whatever the bridges are. A side that speaks MQTT 3.1.1 loses it; there the bridges' own protection counts.
 */
import type { Message } from '../../../core/message.ts'
import { decodePublishProperties, encodeProperties } from '../codec/properties.ts'
import { asBuffer, DIALECT } from '../mapping.ts'
import type { Properties } from '../packets.ts'

const PATH = 'bridge-path'
const SEPARATOR = ','
/** Longer ones are a loop that something on the way does not see. */
const CLUSTERS_MAX = 8

export function pathOf(properties: Uint8Array): readonly string[] {
  if (properties.byteLength === 0) return []
  return split(decode(properties))
}

/** Undefined: it was everywhere already. */
export function leaving(message: Message, cluster: string): Message | undefined {
  const isOurs = message.dialect === DIALECT
  const properties = isOurs ? decode(message.properties) : {}
  const path = split(properties)
  if (path.includes(cluster) || path.length >= CLUSTERS_MAX) return undefined
  const others = (properties.userProperties ?? []).filter(([name]) => name !== PATH)
  const userProperties: [string, string][] = [...others, [PATH, [...path, cluster].join(SEPARATOR)]]
  return {
    address: message.address,
    guarantee: message.guarantee,
    retain: message.retain,
    payload: message.payload,
    dialect: DIALECT,
    properties: encodeProperties({ ...properties, userProperties }),
    timestampMs: message.timestampMs,
    expiresAtMs: message.expiresAtMs,
    publisher: message.publisher,
    token: message.token,
  }
}

function split({ userProperties = [] }: Properties): readonly string[] {
  const path = userProperties.find(([name]) => name === PATH)?.[1] ?? ''
  return path === '' ? [] : path.split(SEPARATOR)
}

function decode(properties: Uint8Array): Properties {
  const bytes = asBuffer(properties)
  return decodePublishProperties({ bytes, propertiesStart: 0, propertiesEnd: bytes.length })
}
