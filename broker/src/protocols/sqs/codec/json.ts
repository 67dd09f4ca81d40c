/** AWS JSON 1.0: a JSON object for each request and answer. Members that the model does not have are passed over. */
import type { Members, Shape, StructureShape } from '../packets.ts'
import { CodecError, missingParameter } from './codec-error.ts'

/** Throws CodecError. The result is of the type that `packets.ts` derives from the shape. */
export function decodeJson(body: Buffer, shape: StructureShape): object {
  if (body.byteLength === 0) return readStructure({}, shape)
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch {
    throw new CodecError('serialization', 'Could not parse request body into json.')
  }
  return readStructure(value, shape)
}

function readStructure(value: unknown, { members, required = [] }: StructureShape): object {
  if (!isObject(value)) throw unexpected(value, 'a structure')
  const read: Record<string, unknown> = {}
  for (const name in value) {
    const shape = Object.hasOwn(members, name) ? (members as Members)[name] : undefined
    const member = value[name]
    if (shape !== undefined && member !== null) read[name] = readValue(member, shape)
  }
  for (let i = 0; i < required.length; i++) {
    const name = required[i] as string
    if (read[name] === undefined) throw missingParameter(name)
  }
  return read
}

function readValue(value: unknown, shape: Shape): unknown {
  switch (shape.kind) {
    case 'text':
      if (typeof value !== 'string') throw unexpected(value, 'a String')
      return value
    case 'integer':
      return readInteger(value)
    case 'boolean':
      if (typeof value !== 'boolean') throw unexpected(value, 'a Boolean')
      return value
    case 'bytes':
      return readBytes(value)
    case 'list':
      if (!Array.isArray(value)) throw unexpected(value, 'a List')
      return value.map((item) => readItem(item, shape.of))
    case 'map':
      return readMap(value, shape.of)
    case 'structure':
      return readStructure(value, shape)
    default:
      return shape satisfies never
  }
}

function readItem(value: unknown, shape: Shape): unknown {
  if (value === null) throw unexpected(value, 'a value')
  return readValue(value, shape)
}

function readInteger(value: unknown): number {
  if (typeof value !== 'number') throw unexpected(value, 'an Integer')
  if (!Number.isInteger(value) || Math.abs(value) > INTEGER_MAX) {
    throw new CodecError('serialization', `${value} can not be converted to an Integer`)
  }
  return value
}

const INTEGER_MAX = 2 ** 31 - 1

function readBytes(value: unknown): Buffer {
  if (typeof value !== 'string') throw unexpected(value, 'a Blob')
  return base64(value)
}

export function base64(value: string): Buffer {
  const bytes = Buffer.from(value, 'base64')
  // Node passes over what is no base64; so do not we.
  if (Math.ceil((bytes.byteLength * 4) / 3) !== value.replace(/=+$/, '').length) {
    throw new CodecError('serialization', 'a Blob is not valid base64')
  }
  return bytes
}

function readMap(value: unknown, of: Shape): object {
  if (!isObject(value)) throw unexpected(value, 'a Map')
  // A key may be any text, `__proto__` too.
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) =>
      item === null ? [] : [[key, readValue(item, of)]],
    ),
  )
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function unexpected(value: unknown, wanted: string): CodecError {
  const given =
    value === null
      ? 'NULL_VALUE'
      : Array.isArray(value)
        ? 'Start of list'
        : typeof value === 'object'
          ? 'Start of structure or map'
          : `${(typeof value).toUpperCase()}_VALUE`
  return new CodecError('serialization', `${given} can not be converted to ${wanted}`)
}
