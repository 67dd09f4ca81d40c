/**
 * The header that a load balancer puts before a connection's bytes to say whose it is: PROXY protocol,
 * versions 1 (text) and 2 (binary), https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. Pure.
 */

export interface ProxyHeader {
  /** Undefined: the balancer speaks for itself (a health check), or does not know. */
  readonly source: { readonly address: string; readonly port: number } | undefined
  /** Common name of the client certificate that the balancer has verified (version 2). */
  readonly certificateName: string | undefined
  /** Bytes of the header. */
  readonly length: number
}

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const TEXT_BYTES_MAX = 107
const BINARY_HEAD_BYTES = 16
/** Addresses and TLVs; more is nobody's honest header. */
const BINARY_BODY_BYTES_MAX = 4 * 1024

/** Undefined: more bytes are needed. Throws Error when these are no header. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | undefined {
  if (bytes.length === 0) return undefined
  return bytes[0] === 0x50 ? parseText(bytes) : parseBinary(bytes)
}

function parseText(bytes: Buffer): ProxyHeader | undefined {
  const end = bytes.indexOf('\r\n', 0, 'latin1')
  if (end < 0) {
    if (bytes.length >= TEXT_BYTES_MAX) throw new Error('a PROXY line has no end')
    if (!'PROXY '.startsWith(bytes.toString('latin1', 0, 6))) throw noHeader()
    return undefined
  }
  const line = bytes.toString('latin1', 0, end)
  const length = end + 2
  const fields = line.split(' ')
  if (fields[0] !== 'PROXY' || length > TEXT_BYTES_MAX) throw noHeader()
  if (fields[1] === 'UNKNOWN') return { source: undefined, certificateName: undefined, length }
  const [, family, address = '', , port = ''] = fields
  const known = family === 'TCP4' || family === 'TCP6'
  if (!known || fields.length !== 6 || !isPort(port)) throw noHeader()
  return { source: { address, port: Number(port) }, certificateName: undefined, length }
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) < 65_536
}

function parseBinary(bytes: Buffer): ProxyHeader | undefined {
  const seen = Math.min(bytes.length, SIGNATURE.length)
  if (bytes.compare(SIGNATURE, 0, seen, 0, seen) !== 0) throw noHeader()
  if (bytes.length < BINARY_HEAD_BYTES) return undefined
  const command = bytes.readUInt8(12)
  if (command >> 4 !== 2 || (command & 15) > 1) throw new Error('not version 2 of PROXY')
  const bodyBytes = bytes.readUInt16BE(14)
  if (bodyBytes > BINARY_BODY_BYTES_MAX) throw new Error('the PROXY header is too long')
  const length = BINARY_HEAD_BYTES + bodyBytes
  if (bytes.length < length) return undefined
  const body = bytes.subarray(BINARY_HEAD_BYTES, length)
  const local = (command & 15) === 0
  const { source, used } = local ? { source: undefined, used: bodyBytes } : sourceOf(bytes, body)
  return { source, certificateName: certificateNameOf(body.subarray(used)), length }
}

function sourceOf(bytes: Buffer, body: Buffer): { source: ProxyHeader['source']; used: number } {
  const family = bytes.readUInt8(13) >> 4
  if (family === 1 && body.length >= 12) {
    const address = [...body.subarray(0, 4)].join('.')
    return { source: { address, port: body.readUInt16BE(8) }, used: 12 }
  }
  if (family === 2 && body.length >= 36) {
    const groups = Array.from({ length: 8 }, (_, at) => body.readUInt16BE(at * 2).toString(16))
    return { source: { address: groups.join(':'), port: body.readUInt16BE(32) }, used: 36 }
  }
  if (family === 1 || family === 2) throw new Error('the PROXY header is too short')
  return { source: undefined, used: family === 3 ? Math.min(216, body.length) : body.length }
}

const TLV_SSL = 0x20
const TLV_SSL_CN = 0x22
/** client:1 verify:4 before the nested TLVs. */
const SSL_HEAD_BYTES = 5

function certificateNameOf(body: Buffer): string | undefined {
  const ssl = tlv(body, TLV_SSL)
  if (ssl === undefined || ssl.length < SSL_HEAD_BYTES || ssl.readUInt32BE(1) !== 0)
    return undefined
  return tlv(ssl.subarray(SSL_HEAD_BYTES), TLV_SSL_CN)?.toString('utf8')
}

function tlv(bytes: Buffer, wanted: number): Buffer | undefined {
  for (let at = 0; at + 3 <= bytes.length; ) {
    const length = bytes.readUInt16BE(at + 1)
    const value = bytes.subarray(at + 3, at + 3 + length)
    if (bytes[at] === wanted && value.length === length) return value
    at += 3 + length
  }
  return undefined
}

function noHeader(): Error {
  return new Error('the connection does not begin with a PROXY header')
}
