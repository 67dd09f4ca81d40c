/** Names and fields of the dialect, and the core's: accounts, addresses and messages. */
import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { HEADER, numberHeader, textHeader } from '../../core/queues/headers.ts'
import type { Received } from '../../core/queues/queue-requests.ts'
import type { KnownQueue } from '../../core/queues/queues.ts'
import { decodeReceipt, encodeReceipt, type QueueReceipt } from '../../core/queues/receipt.ts'
import { SqsError } from './errors.ts'
import { MESSAGE_ATTRIBUTES_MAX } from './limits.ts'
import type { AttributeValue, MessageContent, WrittenAttribute } from './packets.ts'

export type QueueRecord = Received['record']

export const DEFAULT_ACCOUNT = '000000000000'
export const DEFAULT_REGION = 'us-east-1'
const DEFAULT_TENANT = 'default'
/** The dialect's own part of a message, kept as it came. */
const PROPERTIES = 'sqs-properties'

export function tenantOf(account: string): string {
  return account === DEFAULT_ACCOUNT ? DEFAULT_TENANT : account
}

export function accountOf(tenant: string): string {
  return tenant === DEFAULT_TENANT ? DEFAULT_ACCOUNT : tenant
}

export interface QueueName {
  readonly account: string
  readonly name: string
}

const NAME = /^[\w-]{1,80}$/

export function isQueueName(name: string): boolean {
  // The suffix counts, and its dot is no letter of a name.
  return NAME.test(name.endsWith('.fifo') ? `${name.slice(0, -5)}_fifo` : name)
}

/** What an attribute of a message may be called. */
export function isAttributeName(name: string): boolean {
  const isReserved = /^(aws|amazon)\.|^\.|\.$|\.\./i.test(name)
  return /^[\w.-]{1,256}$/.test(name) && !isReserved
}

export function isAccount(text: string): boolean {
  return /^\d{12}$/.test(text)
}

/** Any host: clients come by names and ports that this broker does not know. Throws SqsError InvalidAddress. */
export function parseQueueUrl(url: string): QueueName {
  // By hand, since it is done for each request.
  const scheme = url.indexOf('://')
  const path = scheme < 0 ? url : url.slice(url.indexOf('/', scheme + 3))
  const found = PATH.exec(path)
  if (found === null) {
    throw new SqsError('InvalidAddress', `The address ${url} is not valid for this endpoint.`)
  }
  return { account: found[1] as string, name: found[2] as string }
}

const PATH = /^(?:\/queue\/[\w-]+)?\/([\w-]+)\/([\w-]+(?:\.fifo)?)\/?$/

export function queueUrl(origin: string, { tenant, name }: KnownQueue): string {
  return `${origin}/${accountOf(tenant)}/${name}`
}

export function arnOf({ tenant, name }: Pick<KnownQueue, 'tenant' | 'name'>, region: string) {
  return `arn:aws:sqs:${region}:${accountOf(tenant)}:${name}`
}

/** Of any region: a cluster is all of them. Undefined: it is no queue's. */
export function parseArn(arn: string): QueueName | undefined {
  const found = /^arn:[\w-]+:sqs:[\w-]*:([\w-]+):([\w-]+(?:\.fifo)?)$/.exec(arn)
  return found === null ? undefined : { account: found[1] as string, name: found[2] as string }
}

export function isFifo({ policy }: Pick<KnownQueue, 'policy'>): boolean {
  return policy.order === 'group'
}

export interface Sending {
  readonly messageId: string
  readonly sender: string
  readonly nowMs: number
  /** Has a FIFO queue that deduplicates by content. */
  readonly hashesContent: boolean
}

interface StoredAttribute {
  readonly type: string
  readonly text?: string
  /** Base64. */
  readonly bytes?: string
}

type StoredAttributes = Readonly<Record<string, StoredAttribute>>

/** What is kept of a message besides its body and the shared headers. */
interface StoredProperties {
  readonly attributes?: StoredAttributes
  readonly trace?: string
  /** Only of what is published: else it is a header. */
  readonly group?: string
}

export function toRecord(content: MessageContent, sending: Sending): QueueRecord {
  const { MessageBody, DelaySeconds, MessageGroupId, MessageDeduplicationId } = content
  const { messageId, sender, nowMs, hashesContent } = sending
  const body = Buffer.from(MessageBody)
  const headers: [string, Uint8Array][] = [
    [HEADER.messageId, Buffer.from(messageId)],
    [HEADER.publisher, Buffer.from(sender)],
  ]
  const add = (name: string, value: string | undefined): void => {
    if (value !== undefined) headers.push([name, Buffer.from(value)])
  }
  add(HEADER.group, MessageGroupId)
  add(
    HEADER.deduplicationId,
    MessageDeduplicationId ??
      (hashesContent ? createHash('sha256').update(body).digest('hex') : undefined),
  )
  if (DelaySeconds !== undefined) add(HEADER.deliverAt, String(nowMs + DelaySeconds * 1_000))
  const properties = propertiesOf(content)
  if (properties !== undefined) {
    const bytes = Buffer.from(properties)
    headers.push([PROPERTIES, bytes], ...sharedHeaders(bytes))
  }
  return { timestamp: nowMs, key: null, value: body, headers }
}

/** What is published to the address of a queue carries everything in its properties. */
export function publishedProperties(content: MessageContent): Uint8Array {
  const { MessageGroupId: group } = content
  const properties = parseProperties(propertiesOf(content) ?? '{}')
  return Buffer.from(JSON.stringify({ ...properties, group }))
}

/** Undefined: the message has none. */
function propertiesOf(content: MessageContent): string | undefined {
  const { MessageAttributes, MessageSystemAttributes } = content
  const trace = MessageSystemAttributes?.['AWSTraceHeader']?.StringValue
  if (MessageAttributes === undefined && trace === undefined) return undefined
  const properties: StoredProperties = {
    ...(MessageAttributes && { attributes: storedAttributes(MessageAttributes) }),
    ...(trace !== undefined && { trace }),
  }
  return JSON.stringify(properties)
}

function storedAttributes(attributes: Readonly<Record<string, AttributeValue>>): StoredAttributes {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, { DataType, StringValue, BinaryValue }]) => [
      name,
      {
        type: DataType,
        ...(BinaryValue === undefined
          ? { text: StringValue ?? '' }
          : { bytes: BinaryValue.toString('base64') }),
      },
    ]),
  )
}

/** Attributes that an application gave, whatever dialect it spoke. */
export function messageAttributes(record: QueueRecord): Readonly<Record<string, AttributeValue>> {
  const { attributes } = storedProperties(record)
  if (attributes !== undefined) {
    return Object.fromEntries(
      Object.entries(attributes).map(([name, { type, text, bytes }]) => [
        name,
        bytes === undefined
          ? { DataType: type, StringValue: text ?? '' }
          : { DataType: type, BinaryValue: Buffer.from(bytes, 'base64') },
      ]),
    )
  }
  return foreignAttributes(record)
}

/** What every broker, or the service, says of a message; the rest is the application's. */
const SHARED: ReadonlySet<string> = new Set([
  ...Object.values(HEADER),
  ...['delivery', 'subscription', 'transaction-checks', 'transaction-check-at'],
])

/** Of a message of another dialect its headers; as many as the service lets a message have. */
function foreignAttributes({ headers }: QueueRecord): Readonly<Record<string, AttributeValue>> {
  const attributes = new Map<string, AttributeValue>()
  for (const [name, value] of headers) {
    if (SHARED.has(name) || name.endsWith('-properties') || !isAttributeName(name)) continue
    if (value.byteLength === 0 || attributes.size === MESSAGE_ATTRIBUTES_MAX) continue
    attributes.set(
      name,
      isUtf8(value)
        ? { DataType: 'String', StringValue: Buffer.from(value).toString() }
        : { DataType: 'Binary', BinaryValue: Buffer.from(value) },
    )
  }
  return Object.fromEntries(attributes)
}

/** Headers that other dialects understand, of what was sent here: the dialect's own are kept beside them. */
export function sharedHeaders(properties: Uint8Array): [name: string, value: Uint8Array][] {
  const { attributes = {}, group } = parseProperties(Buffer.from(properties).toString())
  const headers: [string, Uint8Array][] = []
  if (group !== undefined) headers.push([HEADER.group, Buffer.from(group)])
  for (const [name, { text, bytes }] of Object.entries(attributes)) {
    if (SHARED.has(name) || name.endsWith('-properties')) continue
    headers.push([
      name,
      bytes === undefined ? Buffer.from(text ?? '') : Buffer.from(bytes, 'base64'),
    ])
  }
  return headers
}

function storedProperties(record: QueueRecord): StoredProperties {
  const text = textHeader(record, PROPERTIES)
  return text === undefined ? NO_PROPERTIES : parseProperties(text)
}

function parseProperties(text: string): StoredProperties {
  return JSON.parse(text) as StoredProperties
}

const NO_PROPERTIES: StoredProperties = {}

export function writtenAttributes(
  attributes: Readonly<Record<string, AttributeValue>>,
): Readonly<Record<string, WrittenAttribute>> {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, { BinaryValue, StringValue, DataType }]) => [
      name,
      BinaryValue === undefined
        ? { StringValue: StringValue ?? '', DataType }
        : { BinaryValue: BinaryValue.toString('base64'), DataType },
    ]),
  )
}

/** What the service itself says of a message. */
export function systemAttributes(
  received: Received,
  region: string,
): Readonly<Record<string, string | undefined>> {
  const { record, deliveries, firstDeliveredAtMs } = received
  const sequence = numberHeader(record, HEADER.sequence)
  const sentAtMs = numberHeader(record, HEADER.sentAt) ?? record.timestamp
  return {
    SenderId: textHeader(record, HEADER.publisher),
    SentTimestamp: String(sentAtMs),
    ApproximateReceiveCount: String(deliveries),
    ApproximateFirstReceiveTimestamp: String(Math.round(firstDeliveredAtMs)),
    SequenceNumber: sequence === undefined ? undefined : sequenceNumber(sequence),
    MessageGroupId: textHeader(record, HEADER.group),
    MessageDeduplicationId: textHeader(record, HEADER.deduplicationId),
    AWSTraceHeader: storedProperties(record).trace,
    DeadLetterQueueSourceArn: sourceArn(record, region),
  }
}

/** Where it was when it was dead-lettered last; undefined: nowhere. */
function sourceArn(record: QueueRecord, region: string): string | undefined {
  const text = textHeader(record, HEADER.deadLetters)
  if (text === undefined) return undefined
  const [newest] = JSON.parse(text) as readonly { readonly queue?: string }[]
  if (newest?.queue === undefined) return undefined
  const at = newest.queue.indexOf('\0')
  const tenant = at < 0 ? DEFAULT_TENANT : newest.queue.slice(0, at)
  return arnOf({ tenant, name: newest.queue.slice(at + 1) }, region)
}

/** 20 digits, as the service's are. */
export function sequenceNumber(sequence: number): string {
  return `1${String(sequence).padStart(19, '0')}`
}

/** Of MQTT and others the ids may be of another form, or missing. */
export function messageIdOf(record: QueueRecord): string {
  return textHeader(record, HEADER.messageId) ?? ''
}

export function bodyOf({ value }: QueueRecord): string {
  return value === null
    ? ''
    : Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString()
}

export interface Handle {
  readonly receipt: QueueReceipt
  /** Wall clock, ms. */
  readonly receivedAtMs: number
}

export function encodeHandle(receipt: QueueReceipt, receivedAtMs: number): string {
  return `${encodeReceipt(receipt)}.${Math.round(receivedAtMs).toString(36)}`
}

/** Of whichever owner it came. Throws SqsError ReceiptHandleIsInvalid: it is none, or of another queue. */
export function decodeHandle(text: string, queue: KnownQueue): Handle {
  const at = text.indexOf('.')
  const receipt = at < 0 ? undefined : decodeReceipt(text.slice(0, at))
  const receivedAtMs = Number.parseInt(text.slice(at + 1), 36)
  if (
    receipt === undefined ||
    receipt.queueId !== queue.id ||
    !Number.isSafeInteger(receivedAtMs)
  ) {
    const message = `The input receipt handle "${text.slice(0, 1_024)}" is not a valid receipt handle.`
    throw new SqsError('ReceiptHandleIsInvalid', message)
  }
  return { receipt, receivedAtMs }
}
