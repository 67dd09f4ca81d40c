import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseProxyHeader } from './proxy-header.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'

function binary(command: number, family: number, body: Buffer): Buffer {
  const head = Buffer.from(`${SIGNATURE}00000000`, 'hex')
  head[12] = command
  head[13] = family
  head.writeUInt16BE(body.length, 14)
  return Buffer.concat([head, body])
}

const V4 = Buffer.from('c0a80107 0a000001 1f90 075b'.replaceAll(' ', ''), 'hex')

describe('parseProxyHeader', () => {
  test.each([
    ['PROXY TCP4 192.168.1.7 10.0.0.1 8080 1883\r\n', { address: '192.168.1.7', port: 8080 }],
    ['PROXY TCP6 ::1 ::2 65535 1883\r\n', { address: '::1', port: 65_535 }],
    ['PROXY UNKNOWN ffff::1 whatever\r\n', undefined],
  ])('reads the text %j', (line, source) => {
    const bytes = Buffer.concat([Buffer.from(line), Buffer.from([0x10, 0])])
    expect(parseProxyHeader(bytes)).toEqual({
      source,
      certificateName: undefined,
      length: line.length,
    })
  })

  test('reads both families of version 2, and the name in the certificate', () => {
    const name = Buffer.from('device-1')
    const cn = Buffer.concat([Buffer.from([0x22, 0, name.length]), name])
    const ssl = Buffer.concat([Buffer.from([1, 0, 0, 0, 0]), cn])
    const tlvs = Buffer.concat([Buffer.from([0x03, 0, 1, 9, 0x20, 0, ssl.length]), ssl])
    const whole = binary(0x21, 0x11, Buffer.concat([V4, tlvs]))
    expect(parseProxyHeader(whole)).toEqual({
      source: { address: '192.168.1.7', port: 8080 },
      certificateName: 'device-1',
      length: whole.length,
    })
    const v6 = Buffer.alloc(36)
    v6[15] = 1
    v6.writeUInt16BE(7, 32)
    expect(parseProxyHeader(binary(0x21, 0x21, v6))?.source).toEqual({
      address: '0:0:0:0:0:0:0:1',
      port: 7,
    })
  })

  test('a name that the balancer could not verify is no name', () => {
    const ssl = Buffer.from([1, 0, 0, 0, 1, 0x22, 0, 1, 0x61])
    const body = Buffer.concat([V4, Buffer.from([0x20, 0, ssl.length]), ssl])
    expect(parseProxyHeader(binary(0x21, 0x11, body))?.certificateName).toBeUndefined()
  })

  test('LOCAL is the balancer itself', () => {
    expect(parseProxyHeader(binary(0x20, 0, Buffer.alloc(0)))?.source).toBeUndefined()
  })

  test.each([
    ['MQTT', Buffer.from('101000044d515454', 'hex')],
    ['half a word', Buffer.from('PROBE')],
    ['a line without an end', Buffer.from(`PROXY ${'x'.repeat(200)}`)],
    ['another family', Buffer.from('PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n')],
    ['a port that is none', Buffer.from('PROXY TCP4 1.1.1.1 2.2.2.2 70000 2\r\n')],
    ['another version', binary(0x31, 0x11, V4)],
    ['an address cut off', binary(0x21, 0x11, V4.subarray(0, 8))],
    ['a huge body', Buffer.from(`${SIGNATURE}2111ffff`, 'hex')],
  ])('refuses %s', (_name, bytes) => {
    expect(() => parseProxyHeader(bytes)).toThrow(Error)
  })

  test('asks for more until the header is whole, byte by byte', () => {
    for (const whole of [
      Buffer.from('PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n'),
      binary(0x21, 0x11, V4),
    ]) {
      for (let at = 0; at < whole.length; at++) {
        expect(parseProxyHeader(whole.subarray(0, at))).toBeUndefined()
      }
      expect(parseProxyHeader(whole)?.length).toBe(whole.length)
    }
  })

  test('any bytes are a header, not enough, or an Error', () => {
    const start = fc.constantFrom('', SIGNATURE, Buffer.from('PROXY TCP4 ').toString('hex'))
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 80 }), (head, rest) => {
        try {
          parseProxyHeader(Buffer.concat([Buffer.from(head, 'hex'), rest]))
        } catch (error) {
          expect((error as Error).constructor).toBe(Error)
        }
      }),
    )
  })
})
