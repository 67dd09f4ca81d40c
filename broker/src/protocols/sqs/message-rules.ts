/** What a message may be: its characters, its attributes, the ids that come with it. */
import { invalidParameter, invalidValue, SqsError } from './errors.ts'
import { MESSAGE_ATTRIBUTES_MAX } from './limits.ts'
import { isAttributeName } from './mapping.ts'
import type { AttributeValue, MessageContent } from './packets.ts'

type Attributes = Readonly<Record<string, AttributeValue>>

/** The service counts names, types and values of attributes too. */
export function sizeOf({ MessageBody, MessageAttributes }: MessageContent): number {
  let bytes = Buffer.byteLength(MessageBody)
  if (MessageAttributes === undefined) return bytes
  for (const [name, { DataType, StringValue, BinaryValue }] of Object.entries(MessageAttributes)) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(DataType)
    bytes += BinaryValue?.byteLength ?? Buffer.byteLength(StringValue ?? '')
  }
  return bytes
}

/** `isUnescaped`: as in `Call`. Throws SqsError. */
export function checkContent(content: MessageContent, isUnescaped: boolean): void {
  const { MessageBody, MessageAttributes, MessageSystemAttributes } = content
  if (MessageBody === '') {
    throw new SqsError('MissingParameter', 'The request must contain the parameter MessageBody.')
  }
  if (!isUnescaped) checkCharacters(MessageBody)
  if (MessageAttributes !== undefined) checkAttributes(MessageAttributes)
  if (MessageSystemAttributes !== undefined) checkSystemAttributes(MessageSystemAttributes)
  checkId('MessageDeduplicationId', content.MessageDeduplicationId)
  checkId('MessageGroupId', content.MessageGroupId)
}

const FORBIDDEN = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u

/** Without the flag it is several times faster; a pair of surrogates has to be looked at more closely. */
const SUSPICIOUS = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]/

function checkCharacters(text: string): void {
  if (!SUSPICIOUS.test(text) || !FORBIDDEN.test(text)) return
  const message =
    'Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF'
  throw new SqsError('InvalidMessageContents', message)
}

const ID = /^[a-zA-Z0-9!"#$%&'()*+,\-./:;<=>?@[\\\]^_`{|}~]{1,128}$/

export function checkId(parameter: string, id: string | undefined): void {
  if (id === undefined || ID.test(id)) return
  const reason = `${parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length.`
  throw invalidValue(id, parameter, reason)
}

function checkAttributes(attributes: Attributes): void {
  const names = Object.keys(attributes)
  if (names.length > MESSAGE_ATTRIBUTES_MAX) {
    throw invalidParameter(
      `Number of message attributes [${names.length}] exceeds the allowed maximum [${MESSAGE_ATTRIBUTES_MAX}].`,
    )
  }
  for (const name of names) {
    checkName(name)
    checkValue(name, attributes[name] as AttributeValue)
  }
}

function checkName(name: string): void {
  if (name === '')
    throw invalidParameter('The request must contain non-empty message attribute names.')
  if (Buffer.byteLength(name) > 256) {
    throw invalidParameter('Message (user) attribute names must be shorter than 256 Bytes')
  }
  if (!/^[\w.-]+$/.test(name)) {
    throw invalidParameter(
      'Message (user) attributes name can only contain upper and lower score characters, digits, periods, hyphens and underscores. ',
    )
  }
  if (!isAttributeName(name)) {
    throw invalidParameter(
      "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal use. Additionally, they cannot start or end with '.'.",
    )
  }
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?$/i

function checkValue(name: string, value: AttributeValue): void {
  const { DataType, StringValue, BinaryValue, StringListValues, BinaryListValues } = value
  if (StringListValues !== undefined || BinaryListValues !== undefined) {
    const message = 'Message attribute list values in SendMessage operation are not supported.'
    throw new SqsError('UnsupportedOperation', message)
  }
  if (DataType === '') {
    throw invalidParameter(
      `The message attribute '${name}' must contain non-empty message attribute type.`,
    )
  }
  const kind = /^(String|Number|Binary)(\.[\w.-]{1,250})?$/.exec(DataType)?.[1]
  if (kind === undefined) {
    throw invalidParameter(
      `The message attribute '${name}' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.`,
    )
  }
  const text = kind === 'Binary' ? undefined : StringValue
  const isEmpty = kind === 'Binary' ? !BinaryValue?.byteLength : !StringValue
  const isBoth = StringValue !== undefined && BinaryValue !== undefined
  if (isEmpty || isBoth) {
    throw invalidParameter(
      `The message attribute '${name}' must contain non-empty message attribute value for message attribute type '${kind}'.`,
    )
  }
  if (text === undefined) return
  checkCharacters(text)
  if (kind === 'Number' && !NUMBER.test(text)) {
    throw invalidParameter(`Could not cast message attribute '${name}' value to number.`)
  }
}

function checkSystemAttributes(attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (name !== 'AWSTraceHeader') {
      throw invalidParameter(`Message system attribute name '${name}' is invalid.`)
    }
    if (value.DataType !== 'String') {
      throw invalidParameter(`The message system attribute '${name}' must be of the type 'String'.`)
    }
    checkValue(name, value)
  }
}
