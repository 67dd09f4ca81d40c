/** The MD5 digests by which clients check what was stored, and what they were given. */
import { createHash, hash as digest } from 'node:crypto'
import type { AttributeValue } from './packets.ts'

export function md5(value: string | Uint8Array): string {
  return digest('md5', value, 'hex')
}

const TEXT = Buffer.of(1)
const BYTES = Buffer.of(2)

/**
 * In the order of the names: name, type and value, texts with their length before them and a byte that says whether
 * the value is text. Undefined: there is nothing to digest.
 */
export function attributesMd5(
  attributes: Readonly<Record<string, AttributeValue>> | undefined,
): string | undefined {
  const names = attributes && Object.keys(attributes)
  if (attributes === undefined || names === undefined || names.length === 0) return undefined
  const hash = createHash('md5')
  const withLength = (value: string | Uint8Array): void => {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value
    const length = Buffer.allocUnsafe(4)
    length.writeUInt32BE(bytes.byteLength)
    hash.update(length).update(bytes)
  }
  for (const name of names.sort()) {
    const { DataType, StringValue, BinaryValue } = attributes[name] as AttributeValue
    withLength(name)
    withLength(DataType)
    hash.update(BinaryValue === undefined ? TEXT : BYTES)
    withLength(BinaryValue ?? StringValue ?? '')
  }
  return hash.digest('hex')
}
