import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, test } from 'vitest'
import { readDirectly } from './direct-read.ts'

const MANY = 3 * 1024 * 1024
/** Than the kernel keeps for two ends that do not read. */
const TOO_MANY = 32 * 1024 * 1024

const open: (Socket | Server)[] = []

afterEach(() => {
  for (const each of open.splice(0)) 'destroy' in each ? each.destroy() : each.close()
})

/** Both ends; the server's has said its first chunk, as its readers do before they take over. */
async function connected(): Promise<{ client: Socket; socket: Socket }> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [Socket]
  open.push(client, socket, server)
  client.write('first')
  await once(socket, 'data')
  return { client, socket }
}

function numbered(bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(bytes)
  for (let at = 0; at < bytes; at++) buffer[at] = (at * 7 + (at >> 8)) & 0xff
  return buffer
}

async function size(chunks: readonly Buffer[], bytes: number): Promise<Buffer> {
  await expect.poll(() => chunks.reduce((sum, { length }) => sum + length, 0)).toBe(bytes)
  return Buffer.concat(chunks)
}

describe('a socket that is read directly', () => {
  test('gives everything in order, in chunks that nothing is written into later', async () => {
    const { client, socket } = await connected()
    const chunks: Buffer[] = []
    const streamed: Buffer[] = []
    // False would mean that this Node has other insides: everything works, but nothing is gained.
    expect(readDirectly(socket, (chunk) => chunks.push(chunk))).toBe(true)
    socket.on('data', (chunk) => streamed.push(chunk))
    const sent = numbered(MANY)
    client.write(sent.subarray(0, 3))
    await size(chunks, 3)
    client.write(sent.subarray(3))
    expect((await size(chunks, MANY)).equals(sent)).toBe(true)
    expect(streamed).toEqual([])
    expect(socket.bytesRead).toBe('first'.length + MANY)
  })

  test('is held back, and goes on where it was', async () => {
    const { client, socket } = await connected()
    const chunks: Buffer[] = []
    readDirectly(socket, (chunk) => {
      if (chunks.push(chunk) === 1) socket.pause()
    })
    const sent = numbered(TOO_MANY)
    client.write(sent)
    await expect.poll(() => chunks.length).toBe(1)
    // What is not read stays with the client.
    await expect.poll(() => client.writableLength).toBeGreaterThan(0)
    expect(chunks.length).toBe(1)
    socket.resume()
    expect((await size(chunks, TOO_MANY)).equals(sent)).toBe(true)
  })

  test('tells that the client has ended, after what it said last', async () => {
    const { client, socket } = await connected()
    const chunks: Buffer[] = []
    readDirectly(socket, (chunk) => chunks.push(chunk))
    const ended = once(socket, 'end')
    const closed = once(socket, 'close')
    client.end('last')
    await ended
    expect(String(Buffer.concat(chunks))).toBe('last')
    socket.end()
    await closed
  })

  test('tells that the connection broke', async () => {
    const { client, socket } = await connected()
    readDirectly(socket, () => undefined)
    const failed = once(socket, 'error')
    client.resetAndDestroy()
    expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' })
  })
})

describe('what cannot be read so stays as it is', () => {
  test('a stream that is no socket', () => {
    expect(readDirectly(new PassThrough(), () => undefined)).toBe(false)
  })

  test('a socket whose bytes wait in its stream', async () => {
    const { client, socket } = await connected()
    socket.pause()
    socket.removeAllListeners('data')
    client.write('more')
    socket.read(0)
    await expect.poll(() => socket.readableLength).toBe(4)
    expect(readDirectly(socket, () => undefined)).toBe(false)
    expect(String(socket.read())).toBe('more')
  })
})
