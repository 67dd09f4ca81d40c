// UTF-8 strings, topic names and topic filters of MQTT, checked in place (MQTT 5.0 sections 1.5.4,
// 4.7 and 4.8.2). Nothing here allocates unless a string is asked for. Control characters and
// non-characters are let through: the specification discourages them but leaves the choice.

import type { ByteReader } from '../../shared/byte-reader.ts'
import { malformed, violation } from './mqtt-error.ts'

/** What `scanText` found, as bits. */
export const Text = { plain: 0, wildcard: 1, nul: 2, nonAscii: 4, illFormed: 8 } as const

const SLASH = 0x2f
const HASH = 0x23
const PLUS = 0x2b

/** 1 for the bytes that need no second look in a topic name: ASCII but NUL, `+` and `#`. */
export const PLAIN_TOPIC_BYTE = new Uint8Array(256).fill(1, 1, 0x80)
PLAIN_TOPIC_BYTE[HASH] = 0
PLAIN_TOPIC_BYTE[PLUS] = 0

/** Reads bytes [start, end) as UTF-8 and returns the union of what is remarkable about them. */
export function scanText(bytes: Uint8Array, start: number, end: number): number {
  let found = 0
  let index = start
  while (index < end) {
    const byte = bytes[index] as number
    if (PLAIN_TOPIC_BYTE[byte] === 1) {
      index++
    } else if (byte >= 0x80) {
      const length = sequenceLength(bytes, index, end)
      if (length === 0) return found | Text.nonAscii | Text.illFormed
      found |= Text.nonAscii
      index += length
    } else {
      found |= byte === 0 ? Text.nul : Text.wildcard
      index++
    }
  }
  return found
}

/** Length of the multi-byte sequence at `index`, 0 when it is ill-formed (RFC 3629 section 4). */
function sequenceLength(bytes: Uint8Array, index: number, end: number): number {
  const lead = bytes[index] as number
  if (lead < 0xc2 || lead > 0xf4) return 0
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  if (index + length > end) return 0
  const second = bytes[index + 1] as number
  if (second < secondByteMin(lead) || second > secondByteMax(lead)) return 0
  for (let offset = 2; offset < length; offset++) {
    if (((bytes[index + offset] as number) & 0xc0) !== 0x80) return 0
  }
  return length
}

/** Excludes overlong forms. */
function secondByteMin(lead: number): number {
  return lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
}

/** Excludes surrogates (U+D800 to U+DFFF) and what lies above U+10FFFF. */
function secondByteMax(lead: number): number {
  return lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
}

/** Throws when the scan found something that no MQTT string may have. Returns what it was given. */
export function requireText(found: number): number {
  if (found & Text.illFormed) throw malformed('[MQTT-1.5.4-1]', 'a string is not well-formed UTF-8')
  if (found & Text.nul) throw malformed('[MQTT-1.5.4-2]', 'a string contains U+0000')
  return found
}

/** Throws when the scan found something that no topic name may have. Returns what it was given. */
export function requireTopicName(found: number, clause: string): number {
  requireText(found)
  if (found & Text.wildcard) throw malformed(clause, 'a topic name contains a wildcard')
  return found
}

/** Reads a string with its length. The result owns its memory. */
export function readText(reader: ByteReader): string {
  const start = skipText(reader)
  return reader.bytes.toString('utf8', start, reader.position)
}

/** Checks the string at the reader and moves behind it; returns where its characters start. */
export function skipText(reader: ByteReader): number {
  const start = reader.skip(reader.uint16())
  requireText(scanText(reader.bytes, start, reader.position))
  return start
}

/** Reads a topic name that may be neither empty nor have wildcards; `clause` forbids the latter. */
export function readTopicName(reader: ByteReader, clause: string): string {
  const start = skipTopicName(reader, clause)
  return reader.bytes.toString('utf8', start, reader.position)
}

/** Checks a topic name as `readTopicName` does, without making a string of it. */
export function skipTopicName(reader: ByteReader, clause: string): number {
  const start = reader.skip(reader.uint16())
  requireTopicName(scanText(reader.bytes, start, reader.position), clause)
  if (start === reader.position) throw violation('[MQTT-4.7.3-1]', 'a topic name is empty')
  return start
}

/** Reads a topic filter and checks its wildcards and, behind `$share/`, its share name. */
export function readTopicFilter(reader: ByteReader): string {
  const start = skipText(reader)
  const { bytes, position: end } = reader
  if (start === end) throw violation('[MQTT-4.7.3-1]', 'a topic filter is empty')
  requireWildcards(bytes, sharedFilterStart(bytes, start, end), end)
  return bytes.toString('utf8', start, end)
}

const SHARE_PREFIX = Buffer.from('$share/')

/** Where the filter proper starts: behind `$share/{name}/`, or at `start` when it is not shared. */
function sharedFilterStart(bytes: Buffer, start: number, end: number): number {
  for (let index = 0; index < SHARE_PREFIX.length; index++) {
    if (start + index >= end || bytes[start + index] !== SHARE_PREFIX[index]) return start
  }
  const nameStart = start + SHARE_PREFIX.length
  let at = nameStart
  while (at < end && bytes[at] !== SLASH) {
    if (bytes[at] === PLUS || bytes[at] === HASH) {
      throw violation('[MQTT-4.8.2-2]', 'a share name contains a wildcard')
    }
    at++
  }
  if (at === nameStart) throw violation('[MQTT-4.8.2-1]', 'a share name is empty')
  if (at + 1 >= end) throw violation('[MQTT-4.8.2-2]', 'a share name is not followed by a filter')
  return at + 1
}

function requireWildcards(bytes: Buffer, start: number, end: number): void {
  for (let at = start; at < end; at++) {
    const byte = bytes[at]
    if (byte !== HASH && byte !== PLUS) continue
    const startsLevel = at === start || bytes[at - 1] === SLASH
    if (byte === HASH && !(startsLevel && at === end - 1)) {
      throw malformed('[MQTT-4.7.1-1]', 'a # must be the last level of a filter by itself')
    }
    if (byte === PLUS && !(startsLevel && (at === end - 1 || bytes[at + 1] === SLASH))) {
      throw malformed('[MQTT-4.7.1-2]', 'a + must be a level of a filter by itself')
    }
  }
}
