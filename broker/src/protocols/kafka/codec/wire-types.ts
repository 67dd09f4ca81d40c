/**
 * The types of Kafka's protocol as values that read and write themselves, of which the schema tables are made.
 * An API version from its first flexible one on has compact lengths and tagged fields (KIP-482). Lengths and
 * counts are compared with what is left of the input before anything is made of them.
 */
import type { ByteReader } from '../../shared/byte-reader.ts'
import { ByteWriter } from '../../shared/byte-writer.ts'

/** The bytes are not what the schema says. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError'
}

export interface Form {
  readonly version: number
  readonly flexible: boolean
}

export interface Input extends Form {
  readonly reader: ByteReader
  /** Elements of arrays that may still come: each becomes an object, however few its bytes are. */
  elementsLeft: number
}

export interface Output extends Form {
  readonly writer: ByteWriter
}

export interface WireType<T> {
  /** Of the encoded value, at least. */
  readonly bytesMin: (form: Form) => number
  /** What a version that does not have the field means. */
  readonly absent: T
  readonly read: (input: Input) => T
  readonly write: (output: Output, value: T) => void
}

function fixed<T>(
  bytes: number,
  absent: T,
  codec: Pick<WireType<T>, 'read' | 'write'>,
): WireType<T> {
  return { bytesMin: () => bytes, absent, ...codec }
}

export const bool: WireType<boolean> = fixed(1, false, {
  read: ({ reader }) => reader.uint8() !== 0,
  write: ({ writer }, value) => writer.uint8(value ? 1 : 0),
})

export const int8: WireType<number> = fixed(1, 0, {
  read: ({ reader }) => (reader.uint8() << 24) >> 24,
  write: ({ writer }, value) => writer.uint8(value & 0xff),
})

export const int16: WireType<number> = fixed(2, 0, {
  read: ({ reader }) => (reader.uint16() << 16) >> 16,
  write: ({ writer }, value) => writer.uint16(value & 0xffff),
})

export const int32: WireType<number> = fixed(4, 0, {
  read: ({ reader }) => reader.uint32() | 0,
  write: ({ writer }, value) => writer.uint32(value >>> 0),
})

/** As a number: beyond 2^53 it is no longer exact, and no offset or time that is stored here gets there. */
export const int64: WireType<number> = fixed(8, 0, {
  read: ({ reader }) => {
    const high = reader.uint32() | 0
    return high * 0x1_0000_0000 + reader.uint32()
  },
  write: ({ writer }, value) => {
    writer.uint32(Math.floor(value / 0x1_0000_0000) >>> 0)
    writer.uint32(value >>> 0)
  },
})

export const float64: WireType<number> = fixed(8, 0, {
  read: ({ reader }) => reader.view(8).readDoubleBE(),
  write: ({ writer }, value) => {
    const content = Buffer.alloc(8)
    content.writeDoubleBE(value)
    writer.bytes(content)
  },
})

/** As 32 hexadecimal digits. */
export const uuid: WireType<string> = fixed(16, '0'.repeat(32), {
  read: ({ reader }) => reader.view(16).toString('hex'),
  write: ({ writer }, value) => writer.bytes(Buffer.from(value, 'hex')),
})

/** -1: null. `prefix`: bytes of the length where it is not compact. */
function readLength({ reader, flexible }: Input, prefix: 2 | 4): number {
  const length = flexible
    ? reader.varint(4) - 1
    : prefix === 2
      ? (reader.uint16() << 16) >> 16
      : reader.uint32() | 0
  if (length < -1 || length > reader.remaining) throw new MalformedError(`length ${length}`)
  return length
}

function writeLength({ writer, flexible }: Output, prefix: 2 | 4, length: number): void {
  if (flexible) writer.varint(length + 1)
  else if (prefix === 2) writer.uint16(length & 0xffff)
  else writer.uint32(length >>> 0)
}

const lengthBytes =
  (prefix: number) =>
  ({ flexible }: Form): number =>
    flexible ? 1 : prefix

/** Null in versions that do not know of it is malformed. */
function notNull<T>(type: WireType<T | null>, absent: T, nullFrom: number): WireType<T> {
  return {
    ...type,
    absent,
    read: (input) => {
      const value = type.read(input)
      if (value === null && input.version < nullFrom) throw new MalformedError('null')
      return value as T
    },
  }
}

const anyString: WireType<string | null> = {
  bytesMin: lengthBytes(2),
  absent: null,
  read: (input) => {
    const length = readLength(input, 2)
    return length < 0 ? null : input.reader.view(length).toString('utf8')
  },
  write: (output, value) => {
    writeLength(output, 2, value === null ? -1 : Buffer.byteLength(value))
    if (value !== null) output.writer.bytes(Buffer.from(value))
  },
}

const anyBytes: WireType<Buffer | null> = {
  bytesMin: lengthBytes(4),
  absent: null,
  read: (input) => {
    const length = readLength(input, 4)
    return length < 0 ? null : input.reader.view(length)
  },
  write: (output, value) => {
    writeLength(output, 4, value === null ? -1 : value.length)
    if (value !== null) output.writer.bytes(value)
  },
}

const NEVER = Number.POSITIVE_INFINITY
const NO_BYTES = Buffer.alloc(0)

export const string: WireType<string> = notNull(anyString, '', NEVER)

/** Before the version null is malformed. */
export const nullableString = (from = 0): WireType<string | null> =>
  notNull<string | null>(anyString, null, from)

/** Views of the input: copy what is to outlive it. */
export const bytes: WireType<Buffer> = notNull(anyBytes, NO_BYTES, NEVER)
export const nullableBytes: WireType<Buffer | null> = anyBytes

/** Before `nullFrom` null is malformed. */
function anyArray<T>(of: WireType<T>, nullFrom: number): WireType<readonly T[] | null> {
  return {
    bytesMin: lengthBytes(4),
    absent: [],
    read: (input) => {
      const { reader, flexible, version } = input
      const count = flexible ? reader.varint(4) - 1 : reader.uint32() | 0
      if (count === -1 && version >= nullFrom) return null
      if (count < 0 || count * of.bytesMin(input) > reader.remaining || count > reader.remaining) {
        throw new MalformedError(`array of ${count}`)
      }
      input.elementsLeft -= count
      if (input.elementsLeft < 0) throw new MalformedError('too many elements')
      const items: T[] = []
      for (let at = 0; at < count; at++) items.push(of.read(input))
      return items
    },
    write: (output, items) => {
      writeLength(output, 4, items === null ? -1 : items.length)
      for (const item of items ?? []) of.write(output, item)
    },
  }
}

export const array = <T>(of: WireType<T>): WireType<readonly T[]> =>
  notNull(anyArray(of, NEVER), [], NEVER)

export const nullableArray = <T>(of: WireType<T>, from: number): WireType<readonly T[] | null> =>
  anyArray(of, from)

/** A field of a structure in some versions only, or in the tagged part behind it. */
export interface Field<T> {
  readonly type: WireType<T>
  readonly since: number
  readonly until: number
  readonly tag: number | undefined
}

/** In these versions, the last one included; in others it has the value `absent`. */
export function since<T>(first: number, type: WireType<T>, absent = type.absent): Field<T> {
  return { type: { ...type, absent }, since: first, until: NEVER, tag: undefined }
}

export function within<T>(first: number, last: number, type: WireType<T>): Field<T> {
  return { type, since: first, until: last, tag: undefined }
}

/** Undefined: it is left out. */
export function tagged<T>(first: number, tag: number, type: WireType<T>): Field<T | undefined> {
  return {
    type: { ...(type as WireType<T | undefined>), absent: undefined },
    since: first,
    until: NEVER,
    tag,
  }
}

/** A byte before it says whether it is there. */
export function nullableStruct<const Members extends Readonly<Record<string, object>>>(
  members: Members,
) {
  return orNull(struct(members))
}

function orNull<T>(type: WireType<T>): WireType<T | null> {
  return {
    bytesMin: () => 1,
    absent: null,
    read: (input) => (int8.read(input) < 0 ? null : type.read(input)),
    write: (output, value) => {
      int8.write(output, value === null ? -1 : 1)
      if (value !== null) type.write(output, value)
    },
  }
}

type Member = WireType<never> | Field<never>
type ValueOf<M> =
  M extends Field<infer T> ? T : M extends { readonly read: (input: Input) => infer T } ? T : never

/** A byte before it says whether it is there. */
export function nullable<T>(type: WireType<T>): WireType<T | null> {
  return {
    bytesMin: () => 1,
    absent: null,
    read: (input) => (int8.read(input) < 0 ? null : type.read(input)),
    write: (output, value) => {
      int8.write(output, value === null ? -1 : 1)
      if (value !== null) type.write(output, value)
    },
  }
}

/** In the order of the wire. */
export function struct<const Members extends Readonly<Record<string, object>>>(
  members: Members,
): WireType<{ readonly [Name in keyof Members]: ValueOf<Members[Name]> }> {
  const fields = Object.entries(members).map(([name, member]) => ({
    name,
    ...fieldOf(member as Member),
  }))
  const plain = fields.filter(({ tag }) => tag === undefined)
  const withTag = fields.filter(({ tag }) => tag !== undefined)
  const has = ({ since: first, until }: Field<unknown>, { version }: Form): boolean =>
    version >= first && version <= until
  type Value = { readonly [Name in keyof Members]: ValueOf<Members[Name]> }
  return {
    absent: Object.fromEntries(fields.map(({ name, type }) => [name, type.absent])) as Value,
    bytesMin: (form) =>
      plain.reduce(
        (sum, field) => sum + (has(field, form) ? field.type.bytesMin(form) : 0),
        form.flexible ? 1 : 0,
      ),
    read: (input) => {
      const value: Record<string, unknown> = {}
      for (const field of plain) {
        value[field.name] = has(field, input) ? field.type.read(input) : field.type.absent
      }
      for (const { name } of withTag) value[name] = undefined
      if (input.flexible) {
        readTags(input, (tag) => {
          const field = withTag.find((one) => one.tag === tag && has(one, input))
          if (field !== undefined) value[field.name] = field.type.read(input)
        })
      }
      return value as Value
    },
    write: (output, given) => {
      const value = given as Readonly<Record<string, unknown>>
      for (const field of plain) {
        if (has(field, output)) field.type.write(output, value[field.name])
      }
      if (!output.flexible) return
      const present = withTag.filter((one) => has(one, output) && value[one.name] !== undefined)
      output.writer.varint(present.length)
      for (const { name, tag, type } of present)
        writeTag(output, tag ?? 0, (to) => type.write(to, value[name]))
    },
  }
}

function fieldOf(member: Member): Field<unknown> {
  if ('type' in member) return member as unknown as Field<unknown>
  const type = member as unknown as WireType<unknown>
  return { type, since: 0, until: NEVER, tag: undefined }
}

/** What no schema names is passed over. */
export function readTags({ reader }: Input, take: (tag: number) => void): void {
  const count = reader.varint(4)
  if (count * 2 > reader.remaining) throw new MalformedError(`${count} tagged fields`)
  const { end } = reader
  for (let at = 0; at < count; at++) {
    const tag = reader.varint(4)
    const length = reader.varint(4)
    reader.limit(reader.position + length)
    take(tag)
    reader.skip(reader.remaining)
    reader.limit(end)
  }
}

function writeTag(output: Output, tag: number, write: (to: Output) => void): void {
  const writer = new ByteWriter({ headBytes: 0, capacityBytes: 64 })
  write({ ...output, writer })
  const content = writer.finish(0)
  output.writer.varint(tag)
  output.writer.varint(content.length)
  output.writer.bytes(content)
}

/** More than any client asks of in one request, and few enough to be held. */
const ELEMENTS_MAX = 100_000

/** Throws MalformedError, ShortInputError or LongVarintError. What follows the value is not looked at. */
export function decode<T>(type: WireType<T>, reader: ByteReader, form: Form): T {
  return type.read({ ...form, reader, elementsLeft: ELEMENTS_MAX })
}

export function encode<T>(type: WireType<T>, value: T, { version, flexible }: Form): Buffer {
  const writer = new ByteWriter({ headBytes: 0, capacityBytes: 256 })
  type.write({ version, flexible, writer }, value)
  return writer.finish(0)
}
