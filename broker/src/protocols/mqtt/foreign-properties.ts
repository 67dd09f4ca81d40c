/** What other dialects' messages say beside their payload, as MQTT 5 properties. MQTT before 5 has no room for it. */
import { isUtf8 } from 'node:buffer'
import type { Message } from '../../core/message.ts'
import { encodeProperties } from './codec/properties.ts'

export type Headers = readonly (readonly [name: string, value: Uint8Array])[]

/** Headers that all dialects understand, of a message of any. */
export type SharedHeaders = (message: Message) => Headers

const NO_BYTES = Buffer.alloc(0)
/** Of a string in MQTT: what is longer stays behind. */
const TEXT_BYTES_MAX = 65_535

/** As a client is sent it now. `nowMs`: wall clock. */
export function foreignProperties(
  message: Message,
  { nowMs, shared }: { readonly nowMs: number; readonly shared: SharedHeaders | undefined },
): Buffer {
  const content = propertiesOf(shared?.(message) ?? [])
  if (message.expiresAtMs === 0) return content
  const rest = Math.max(0, Math.ceil((message.expiresAtMs - nowMs) / 1_000))
  return Buffer.concat([encodeProperties({ messageExpiryInterval: rest }), content])
}

/** Every header is a user property of its name, but for those that MQTT has a word for. */
export function propertiesOf(headers: Headers): Buffer {
  if (headers.length === 0) return NO_BYTES
  const userProperties: [string, string][] = []
  let contentType: string | undefined
  let responseTopic: string | undefined
  let correlationData: Buffer | undefined
  for (const [name, bytes] of headers) {
    const text = textOf(bytes)
    if (name === 'correlation-id' && bytes.byteLength <= TEXT_BYTES_MAX) {
      correlationData = Buffer.from(bytes)
    } else if (text === undefined || !isText(name)) continue
    else if (name === 'content-type') contentType = text
    else if (name === 'reply-to' && isTopic(text)) responseTopic = text
    else userProperties.push([name, text])
  }
  return encodeProperties({
    ...(contentType !== undefined && { contentType }),
    ...(responseTopic !== undefined && { responseTopic }),
    ...(correlationData !== undefined && { correlationData }),
    ...(userProperties.length > 0 && { userProperties }),
  })
}

/** A response topic has no wildcards. [MQTT-3.3.2-14] */
function isTopic(text: string): boolean {
  return text !== '' && !/[+#]/.test(text)
}

/** Bytes that are no text are told in base64; undefined: too long. */
function textOf(bytes: Uint8Array): string | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const text = isUtf8(buffer) && !buffer.includes(0) ? buffer.toString() : buffer.toString('base64')
  return Buffer.byteLength(text) <= TEXT_BYTES_MAX ? text : undefined
}

function isText(name: string): boolean {
  return !name.includes('\0') && Buffer.byteLength(name) <= TEXT_BYTES_MAX
}
