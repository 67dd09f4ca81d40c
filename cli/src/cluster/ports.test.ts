import { type AddressInfo, createServer, type Server } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { freeSlot } from '../commands/roles.ts'
import { busyPorts, findPortOwner, isListening, isPortFree } from './ports.ts'

let servers: Server[] = []

afterEach(async () => {
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  servers = []
})

async function listen(host: string): Promise<number> {
  const server = createServer((socket) => socket.destroy())
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  return (server.address() as AddressInfo).port
}

describe('ports', () => {
  test.each(['127.0.0.1', '0.0.0.0', '::'])(
    'busyPorts names a port that is taken on %s, and findPortOwner this process',
    async (host) => {
      const port = await listen(host)
      const use = { node: 'broker-1', protocol: 'mqtt', host: '127.0.0.1', port }
      expect(await isPortFree('127.0.0.1', port)).toBe(false)
      expect(await isListening('127.0.0.1', port)).toBe(true)
      expect(await busyPorts([use])).toEqual([use])
      expect(findPortOwner(port)?.pid).toBe(process.pid)
    },
  )

  test('a port that was closed is free and has no owner', async () => {
    const port = await listen('127.0.0.1')
    const [server] = servers.splice(0)
    await new Promise((resolve) => server?.close(resolve))
    expect(await isPortFree('127.0.0.1', port)).toBe(true)
    expect(await isListening('127.0.0.1', port)).toBe(false)
    expect(findPortOwner(port)).toBeUndefined()
  })

  test('freeSlot leaves out ports that are somebody’s although free at the moment', async () => {
    const first = await freeSlot('127.0.0.1', new Set())
    const second = await freeSlot('127.0.0.1', new Set([first.grpc]))
    expect(second.mqtt).toBeGreaterThan(first.mqtt)
    expect(second.grpc - second.mqtt).toBe(9981 - 1883)
  })
})
