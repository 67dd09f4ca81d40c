import { describe, expect, test } from 'vitest'
import { parseBrokerConfig } from './config.ts'

const parse = (...flags: string[]) =>
  parseBrokerConfig(['--placement', 'h:1', '--storage', 'memory:', ...flags])

describe('parseBrokerConfig', () => {
  test.each([
    ['broker.example:19092', { host: 'broker.example', port: 19_092 }],
    ['10.0.0.7:9092', { host: '10.0.0.7', port: 9_092 }],
    ['[fd00::7]:9092', { host: 'fd00::7', port: 9_092 }],
  ])('--kafka-advertise %s', (text, address) => {
    expect(parse('--kafka-advertise', text).kafkaAdvertise).toEqual(address)
    expect(parse('--kafka-tls-advertise', text).kafkaTlsAdvertise).toEqual(address)
  })

  test.each(['host', 'host:', ':9092', 'host:0', 'host:70000', 'fd00::7:9092'])(
    '--kafka-advertise %s is refused',
    (text) => {
      expect(() => parse('--kafka-advertise', text)).toThrow(/HOST:PORT|whole number/)
    },
  )

  test('a TLS port needs a certificate', () => {
    expect(() => parse('--kafka-tls-port', '9093')).toThrow('--tls-cert')
  })
})
