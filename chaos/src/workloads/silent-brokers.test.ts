import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { leavingSilent } from './silent-brokers.ts'

const TIMES = { silentMs: 30, avoidedMs: 150 }

let server: Server
let port: number
const sockets: Socket[] = []

beforeEach(async () => {
  server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => {
      if (String(bytes) === 'answer') socket.write('answered')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  server.close()
  await once(server, 'close')
})

function connecting({ socketFactory }: ReturnType<typeof leavingSilent>): Socket {
  const ssl = {}
  const socket = socketFactory({ host: '127.0.0.1', port, ssl, onConnect: () => undefined })
  sockets.push(socket)
  return socket
}

test('who says nothing is left, and not connected to for a while', async () => {
  const factory = leavingSilent(TIMES)
  const silent = connecting(factory)
  silent.write('a request')
  await once(silent, 'timeout')
  silent.destroy()
  const [error] = await once(connecting(factory), 'error')
  expect(String(error)).toContain('silent')
  await expect
    .poll(async () => {
      const again = connecting(factory)
      return Promise.race([
        once(again, 'connect').then(() => 'connected'),
        new Promise((resolve) => again.once('error', () => resolve('refused'))),
      ])
    })
    .toBe('connected')
})

test('who answers is stayed with', async () => {
  const socket = connecting(leavingSilent(TIMES))
  await once(socket, 'connect')
  let silences = 0
  socket.on('timeout', () => silences++)
  for (let at = 0; at < 20; at++) {
    socket.write('answer')
    await once(socket, 'data')
  }
  expect(silences).toBe(0)
})
