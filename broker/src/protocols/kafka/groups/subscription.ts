/**
 * What consumers tell each other in the classic protocol: the topics that one wants, and the partitions that it is
 * given. To a coordinator these are bytes; they are read where it must know what a member reads.
 */
import { ByteReader, LongVarintError, ShortInputError } from '../../shared/byte-reader.ts'
import {
  array,
  decode,
  encode,
  int16,
  int32,
  MalformedError,
  nullableBytes,
  nullableString,
  since,
  string,
  struct,
} from '../codec/wire-types.ts'

const owned = array(struct({ topic: string, partitions: array(int32) }))

const subscription = struct({
  topics: array(string),
  userData: nullableBytes,
  ownedPartitions: since(1, owned),
  generationId: since(2, int32, -1),
  rackId: since(3, nullableString()),
})

const assignment = struct({ partitions: owned, userData: nullableBytes })

const LAST_VERSION = 3

export interface TopicPartitions {
  readonly topic: string
  readonly partitions: readonly number[]
}

export interface Subscription {
  readonly topics: readonly string[]
  /** What the member has not given up; of version 0: not told. */
  readonly ownedPartitions: readonly TopicPartitions[]
}

/** Undefined: it is no consumer's. */
export function subscriptionOf(metadata: Buffer): Subscription | undefined {
  return read(metadata, (reader, version) => decode(subscription, reader, formOf(version)))
}

export function subscribedTopics(metadata: Buffer): readonly string[] | undefined {
  return subscriptionOf(metadata)?.topics
}

/** Undefined: it is no consumer's. */
export function assignmentOf(bytes: Buffer): readonly TopicPartitions[] | undefined {
  return read(bytes, (reader, version) => decode(assignment, reader, formOf(version)))?.partitions
}

export function encodeAssignment(partitions: readonly TopicPartitions[]): Buffer {
  const body = encode(assignment, { partitions, userData: null }, formOf(0))
  return Buffer.concat([Buffer.alloc(2), body])
}

/** Of later versions the fields that are known here come first. */
function formOf(version: number) {
  return { version: Math.min(version, LAST_VERSION), flexible: false }
}

function read<T>(bytes: Buffer, of: (reader: ByteReader, version: number) => T): T | undefined {
  try {
    const reader = new ByteReader(bytes)
    const version = decode(int16, reader, formOf(0))
    return version < 0 ? undefined : of(reader, version)
  } catch (error) {
    const isOther = [MalformedError, ShortInputError, LongVarintError].some(
      (kind) => error instanceof kind,
    )
    if (!isOther) throw error
    return undefined
  }
}
