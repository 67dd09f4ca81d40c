/**
 * A message that its session will not get, as it is published for those who look after such messages: with its
 * story in user properties, and without its time to live.
 */
import type { Message } from '../../core/message.ts'
import { decodePublishProperties, encodeProperties } from './codec/properties.ts'
import { asBuffer, DIALECT } from './mapping.ts'
import type { Properties } from './packets.ts'

export interface DeadLetterOptions {
  /** Its address begins with it. */
  readonly prefix: string
  readonly reason: string
  readonly session: string
  /** Wall clock. */
  readonly nowMs: number
}

const REASON = 'dead-letter-reason'
const ADDRESS_BYTES_MAX = 65_535
const NO_PROPERTIES: Properties = {}

/** Undefined: it is one already, and must not run in circles. */
export function deadLetterOf(message: Message, options: DeadLetterOptions): Message | undefined {
  const { prefix, reason, session, nowMs } = options
  const isMqtt = message.dialect === DIALECT
  const before = isMqtt ? propertiesOf(message) : NO_PROPERTIES
  const { messageExpiryInterval: _, userProperties = [], ...properties } = before
  const isOne = userProperties.some(([name]) => name === REASON)
  if (isOne || message.address.startsWith(`${prefix}/`)) return undefined
  const story: [string, string][] = [
    [REASON, reason],
    ['dead-letter-session', session],
    ['dead-letter-topic', message.address],
    ['dead-letter-published-at', timeOf(message.timestampMs)],
    ['dead-letter-at', timeOf(nowMs)],
  ]
  if (message.expiresAtMs !== 0) {
    story.push(['dead-letter-expires-at', timeOf(message.expiresAtMs)])
  }
  const address = `${prefix}/${message.address}`
  return {
    // The topic is in the story too.
    address: Buffer.byteLength(address) > ADDRESS_BYTES_MAX ? prefix : address,
    guarantee: 1,
    retain: false,
    payload: message.payload,
    dialect: DIALECT,
    properties: encodeProperties({ ...properties, userProperties: [...userProperties, ...story] }),
    timestampMs: nowMs,
    expiresAtMs: 0,
    publisher: message.publisher,
    token: '',
  }
}

function propertiesOf({ properties }: Message): Properties {
  const bytes = asBuffer(properties)
  return decodePublishProperties({ bytes, propertiesStart: 0, propertiesEnd: bytes.length })
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}
