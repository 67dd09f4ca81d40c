/** Every error of the service, in both forms, and which of them the core's errors become. */
import type { BrokerErrorCode } from '../../core/errors.ts'
import { CodecError, type CodecErrorKind } from './codec/codec-error.ts'

interface ErrorModel {
  /** Code of the Query form, and of `x-amzn-query-error`. */
  readonly code: string
  readonly status: number
  readonly fault: 'Sender' | 'Receiver'
  /** Namespace and name of the JSON form. */
  readonly type: string
}

/** In the service's own model. */
function modelled(name: string, code = name, status = 400): ErrorModel {
  return { code, status, fault: 'Sender', type: `com.amazonaws.sqs#${name}` }
}

/** What every service of the kind answers. */
function common(name: string, code = name, status = 400): ErrorModel {
  const fault = status < 500 ? 'Sender' : 'Receiver'
  return { code, status, fault, type: `com.amazon.coral.service#${name}` }
}

const SERVICE = 'AWS.SimpleQueueService.'

export const ERRORS = {
  BatchEntryIdsNotDistinct: modelled(
    'BatchEntryIdsNotDistinct',
    `${SERVICE}BatchEntryIdsNotDistinct`,
  ),
  BatchRequestTooLong: modelled('BatchRequestTooLong', `${SERVICE}BatchRequestTooLong`),
  EmptyBatchRequest: modelled('EmptyBatchRequest', `${SERVICE}EmptyBatchRequest`),
  InvalidAddress: modelled('InvalidAddress', 'InvalidAddress', 404),
  InvalidAttributeName: modelled('InvalidAttributeName'),
  InvalidAttributeValue: modelled('InvalidAttributeValue'),
  InvalidBatchEntryId: modelled('InvalidBatchEntryId', `${SERVICE}InvalidBatchEntryId`),
  InvalidMessageContents: modelled('InvalidMessageContents'),
  MessageNotInflight: modelled('MessageNotInflight', `${SERVICE}MessageNotInflight`),
  OverLimit: modelled('OverLimit', 'OverLimit', 403),
  PurgeQueueInProgress: modelled('PurgeQueueInProgress', `${SERVICE}PurgeQueueInProgress`, 403),
  QueueDoesNotExist: modelled('QueueDoesNotExist', `${SERVICE}NonExistentQueue`),
  QueueNameExists: modelled('QueueNameExists', 'QueueAlreadyExists'),
  ReceiptHandleIsInvalid: modelled('ReceiptHandleIsInvalid', 'ReceiptHandleIsInvalid', 404),
  RequestThrottled: modelled('RequestThrottled', 'RequestThrottled', 403),
  ResourceNotFoundException: modelled(
    'ResourceNotFoundException',
    'ResourceNotFoundException',
    404,
  ),
  TooManyEntriesInBatchRequest: modelled(
    'TooManyEntriesInBatchRequest',
    `${SERVICE}TooManyEntriesInBatchRequest`,
  ),
  UnsupportedOperation: modelled('UnsupportedOperation', `${SERVICE}UnsupportedOperation`),
  AccessDenied: common('AccessDeniedException', 'AccessDenied', 403),
  IncompleteSignature: common('IncompleteSignatureException', 'IncompleteSignature'),
  InternalFailure: common('InternalFailure', 'InternalFailure', 500),
  InvalidAction: common('UnknownOperationException', 'InvalidAction'),
  InvalidClientTokenId: common('UnrecognizedClientException', 'InvalidClientTokenId', 403),
  InvalidParameterValue: common('InvalidParameterValueException', 'InvalidParameterValue'),
  MalformedInput: common('SerializationException', 'MalformedInput'),
  MissingAction: common('MissingActionException', 'MissingAction'),
  MissingAuthenticationToken: common(
    'MissingAuthenticationTokenException',
    'MissingAuthenticationToken',
    403,
  ),
  MissingParameter: common('MissingRequiredParameterException', 'MissingParameter'),
  NoSuchVersion: common('NoSuchVersionException', 'NoSuchVersion'),
  RequestEntityTooLarge: common('RequestEntityTooLargeException', 'RequestEntityTooLarge', 413),
  RequestExpired: common('RequestExpired', 'RequestExpired', 403),
  ServiceUnavailable: common('ServiceUnavailableException', 'ServiceUnavailable', 503),
  SignatureDoesNotMatch: common('InvalidSignatureException', 'SignatureDoesNotMatch', 403),
} as const satisfies Readonly<Record<string, ErrorModel>>

export type SqsErrorName = keyof typeof ERRORS

export class SqsError extends Error {
  readonly model: ErrorModel

  constructor(name: SqsErrorName, message: string) {
    super(message)
    this.name = name
    this.model = ERRORS[name]
  }
}

const OF_CODEC: Readonly<Record<CodecErrorKind, SqsErrorName>> = {
  serialization: 'MalformedInput',
  'malformed-input': 'MalformedInput',
  'missing-parameter': 'MissingParameter',
}

const OF_CORE: Readonly<Record<BrokerErrorCode, SqsErrorName>> = {
  UNAVAILABLE: 'ServiceUnavailable',
  TAKEN_OVER: 'ServiceUnavailable',
  REFUSED: 'RequestThrottled',
  NOT_FOUND: 'QueueDoesNotExist',
  SHUTTING_DOWN: 'ServiceUnavailable',
}

/** Undefined: it is none that a client can cause or should be told of. */
export function sqsErrorOf(error: unknown): SqsError | undefined {
  if (error instanceof SqsError) return error
  if (error instanceof CodecError) return new SqsError(OF_CODEC[error.kind], error.message)
  const code = (error as { code?: unknown } | null)?.code
  if (typeof code !== 'string' || !Object.hasOwn(OF_CORE, code)) return undefined
  const name = OF_CORE[code as BrokerErrorCode]
  if (name === 'QueueDoesNotExist') return noSuchQueue()
  return new SqsError(name, (error as Error).message)
}

export function noSuchQueue(): SqsError {
  return new SqsError('QueueDoesNotExist', 'The specified queue does not exist.')
}

export function invalidParameter(message: string): SqsError {
  return new SqsError('InvalidParameterValue', message)
}

/** `Value V for parameter P is invalid. Reason: R` */
export function invalidValue(value: unknown, parameter: string, reason: string): SqsError {
  return invalidParameter(`Value ${value} for parameter ${parameter} is invalid. Reason: ${reason}`)
}
