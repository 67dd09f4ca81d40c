import { type AddressInfo, createServer, type Server } from 'node:net'
import { placement } from '@robust/proto'
import { afterEach, describe, expect, test } from 'vitest'
import { missingIn, mqttAnswers } from './readiness.ts'

let server: Server | undefined

afterEach(() => {
  server?.close()
  server = undefined
})

/** A server that answers the first packet with these bytes, one by one. */
async function answering(bytes: readonly number[]) {
  const received: Buffer[] = []
  server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', (chunk) => {
      received.push(chunk)
      for (const byte of bytes) socket.write(Buffer.of(byte))
    })
  })
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  return { port: (server.address() as AddressInfo).port, received }
}

describe('mqttAnswers', () => {
  test('mqttAnswers is true after a CONNACK that accepts', async () => {
    const { port, received } = await answering([0x20, 2, 0, 0])
    expect(await mqttAnswers('127.0.0.1', port)).toBe(true)
    expect(received[0]).toHaveLength(14)
  })

  test('mqttAnswers greets as a load balancer does, and is true where it only lacks a password', async () => {
    const { port, received } = await answering([0x20, 2, 0, 5])
    expect(await mqttAnswers('127.0.0.1', port, { greeting: 'PROXY UNKNOWN\r\n' })).toBe(true)
    expect(received[0]?.toString('latin1', 0, 15)).toBe('PROXY UNKNOWN\r\n')
  })

  test.each([
    ['a CONNACK that refuses', [0x20, 2, 0, 3]],
    ['another protocol', [...Buffer.from('HTTP/1.1 400')]],
    ['silence', []],
  ])('mqttAnswers is false after %s', async (_what, bytes) => {
    const { port } = await answering(bytes)
    expect(await mqttAnswers('127.0.0.1', port, { withinMs: 100 })).toBe(false)
  })

  test('mqttAnswers is false where nobody listens', async () => {
    const { port } = await answering([])
    await new Promise((resolve) => server?.close(resolve))
    expect(await mqttAnswers('127.0.0.1', port)).toBe(false)
  })
})

describe('missingIn', () => {
  const led = (nodes: string[]) =>
    placement.StatusReply.fromPartial({
      role: 'leader',
      hasQuorum: true,
      metadata: { nodes: nodes.map((nodeId) => ({ nodeId })) },
    })

  test('missingIn names the Placement Center while nobody leads with a quorum', () => {
    const what = 'the Placement Center has no leader'
    expect(missingIn(undefined, [])).toEqual([{ what, node: 'placement-1' }])
    expect(missingIn({ ...led([]), hasQuorum: false }, [])).toEqual([{ what, node: 'placement-1' }])
  })

  test('missingIn names brokers that are not registered', () => {
    expect(missingIn(led(['broker-1']), ['broker-1'])).toEqual([])
    expect(missingIn(led(['broker-1']), ['broker-1', 'broker-2'])).toEqual([
      { what: 'broker-2 is not registered', node: 'broker-2' },
    ])
  })
})
