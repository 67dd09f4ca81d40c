import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { LinkProxy } from './link-proxy.ts'
import { type LinkRule, NO_RULE } from './link-rules.ts'

const HOST = '127.0.0.1'
const CUT: LinkRule = { ...NO_RULE, from: 'a', to: 'b', cut: true }
const BACK: LinkRule = { ...CUT, from: 'b', to: 'a' }

const ends: (() => void)[] = []

afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** `b` answers each piece in capitals; `a` is whoever connects. */
async function start({ isNode = true } = {}) {
  const heard: string[] = []
  const taken: Socket[] = []
  const echo = await listen((socket) => {
    taken.push(socket)
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => {
      heard.push(bytes.toString())
      socket.write(bytes.toString().toUpperCase())
    })
  })
  const probe = await listen(() => undefined)
  const { port } = probe.address() as AddressInfo
  await new Promise((done) => probe.close(done))
  const inner = (echo.address() as AddressInfo).port
  const proxy = new LinkProxy({
    ...{ host: HOST, fronts: [{ node: 'b', port, inner }], random: () => 0.5 },
    nameOf: () => (isNode ? 'a' : undefined),
  })
  await proxy.start()
  ends.push(() => proxy.stop())
  const socket = connect(port, HOST)
  ends.push(() => socket.destroy())
  let answered = ''
  let hasClosed = false
  socket.on('data', (bytes) => {
    answered += bytes.toString()
  })
  socket.on('error', () => undefined)
  socket.once('close', () => {
    hasClosed = true
  })
  return { proxy, socket, heard, taken, answered: () => answered, hasClosed: () => hasClosed }
}

async function listen(onConnection: (socket: Socket) => void): Promise<Server> {
  const server = createServer(onConnection)
  ends.push(() => server.close())
  await new Promise<void>((done) => server.listen(0, HOST, done))
  return server
}

describe('a link', () => {
  test('that is whole passes all on, and its end', async () => {
    const { socket, answered, hasClosed } = await start()
    socket.write('hello')
    await expect.poll(answered).toBe('HELLO')
    socket.end()
    await expect.poll(hasClosed).toBe(true)
  })

  test('that is cut holds what is sent until it is healed', async () => {
    const { proxy, socket, heard, answered } = await start()
    socket.write('one')
    await expect.poll(answered).toBe('ONE')
    proxy.setRules([CUT])
    socket.write('two')
    await new Promise((done) => setTimeout(done, 60))
    expect(heard).toEqual(['one'])
    proxy.setRules([])
    await expect.poll(answered).toBe('ONETWO')
  })

  test('that is cut one way passes on what comes the other way', async () => {
    const { proxy, socket, heard, answered } = await start()
    proxy.setRules([BACK])
    socket.write('one')
    await expect.poll(() => heard).toEqual(['one'])
    expect(answered()).toBe('')
    proxy.setRules([])
    await expect.poll(answered).toBe('ONE')
  })

  test('that is cut hides that the other end is gone', async () => {
    const { proxy, socket, taken, answered, hasClosed } = await start()
    socket.write('one')
    await expect.poll(answered).toBe('ONE')
    proxy.setRules([BACK])
    taken[0]?.resetAndDestroy()
    await new Promise((done) => setTimeout(done, 60))
    expect(hasClosed()).toBe(false)
    proxy.setRules([])
    await expect.poll(hasClosed).toBe(true)
  })

  test('that is slow keeps the order', async () => {
    const { proxy, socket, answered } = await start()
    proxy.setRules([{ ...NO_RULE, from: 'a', to: 'b', delayMs: 40 }])
    const from = performance.now()
    socket.write('one')
    setTimeout(() => {
      proxy.setRules([])
      socket.write('two')
    }, 5)
    await expect.poll(answered).toBe('ONETWO')
    expect(performance.now() - from).toBeGreaterThan(39)
  })

  test('of a command line is never disturbed', async () => {
    const { proxy, socket, answered } = await start({ isNode: false })
    proxy.setRules([{ ...CUT, from: '*', to: '*' }])
    socket.write('hello')
    await expect.poll(answered).toBe('HELLO')
  })
})
