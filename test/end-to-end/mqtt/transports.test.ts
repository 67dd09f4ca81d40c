import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import type { IClientOptions } from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestAuthority } from '../../support/certificates.ts'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import { type Client, connect, mosquittoPub, rawSocket } from '../../support/mqtt-clients.ts'

let cluster: TestCluster
let authority: TestAuthority
let stranger: TestAuthority
let folder: string
const open: Client[] = []

/** broker-2 is behind a load balancer, and insists on client certificates. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'robust-tls-'))
  authority = await TestAuthority.create(folder, 'authority')
  stranger = await TestAuthority.create(folder, 'stranger')
  const server = await authority.issue('localhost', 'server')
  const names = join(folder, 'names')
  mkdirSync(names)
  await authority.issue('other.example', 'other.example', names)
  cluster = await startCluster(
    ...['--nodes', '2', '--placement', '1'],
    ...['--set', `broker.tls-cert=${server.certificate}`, '--set', `broker.tls-key=${server.key}`],
    ...['--set', `broker.tls-names=${names}`, '--set', `broker.tls-client-ca=${authority.file}`],
    ...['--set', 'broker.tls-client-required=@broker-2'],
    ...['--set', 'broker.proxy-protocol=mqtt,ws@broker-2'],
    ...['--set', `broker.mqtt-socket=${join(folder, 'mqtt.sock')}@broker-1`],
  )
})

afterAll(async () => {
  await Promise.all(open.map((client) => client.end()))
  await cluster.purge()
  rmSync(folder, { recursive: true, force: true })
})

type Listener = 'mqtt' | 'mqtts' | 'ws' | 'wss'
const STANDARD: Readonly<Record<Listener, number>> = {
  mqtt: 1883,
  mqtts: 8883,
  ws: 8083,
  wss: 8084,
}

function port(listener: Listener, node = 1): number {
  return STANDARD[listener] + cluster.offset + 100 * (node - 1)
}

async function client(at: number, options: IClientOptions = {}): Promise<Client> {
  const connected = await connect(at, options)
  open.push(connected)
  return connected
}

function tls(more: IClientOptions = {}): IClientOptions {
  return { protocol: 'mqtts', ca: readFileSync(authority.file), ...more }
}

describe('MQTT transports', () => {
  test('TCP, TLS, WebSocket and secure WebSocket clients meet each other', async () => {
    const ca = readFileSync(authority.file)
    const everyone = [
      await client(port('mqtt')),
      await client(port('mqtts'), tls()),
      await client(port('ws'), { protocol: 'ws', path: '/mqtt' }),
      await client(port('ws'), { protocol: 'ws', path: '/', protocolVersion: 4 }),
      await client(port('wss'), { protocol: 'wss', path: '/mqtt', wsOptions: { ca } }),
      await client(port('mqtt'), { protocol: 'ws', path: '/mqtt' }),
      await client(port('mqtts'), { protocol: 'wss', path: '/mqtt', wsOptions: { ca } }),
    ]
    for (const { mqtt } of everyone) await mqtt.subscribeAsync('meet', { qos: 1 })
    const big = 'x'.repeat(300_000)
    for (const [at, { mqtt }] of everyone.entries()) {
      await mqtt.publishAsync('meet', `${at}${big}`, { qos: 1 })
    }
    for (const { texts } of everyone) {
      await expect
        .poll(() => texts().map((text) => text.slice(0, -big.length)))
        .toEqual(everyone.map((_, at) => String(at)))
    }
  })

  test('mosquitto_pub speaks to it over TLS, and over a Unix socket', async () => {
    const sub = await client(port('mqtt'))
    await sub.mqtt.subscribeAsync('tools', { qos: 1 })
    const ca = ['--cafile', authority.file]
    await mosquittoPub(port('mqtts'), ...ca, '-q', '1', '-t', 'tools', '-m', 'over TLS')
    const unix = ['--unix', join(folder, 'mqtt.sock')]
    await mosquittoPub(1, ...unix, '-q', '1', '-t', 'tools', '-m', 'over a file')
    await expect.poll(sub.texts).toEqual(['over TLS', 'over a file'])
  })

  test('a client that asks for another host name gets its certificate', async () => {
    const nameShown = (servername: string): Promise<string | undefined> =>
      new Promise((resolve, reject) => {
        const options = { port: port('mqtts'), host: '127.0.0.1', servername }
        const socket = connectTls({ ...options, ca: readFileSync(authority.file) }, () => {
          resolve(socket.getPeerCertificate().subject.CN as string)
          socket.destroy()
        })
        socket.on('error', reject)
      })
    expect(await nameShown('localhost')).toBe('localhost')
    expect(await nameShown('other.example')).toBe('other.example')
  })

  test('a certificate that changes is used without a restart, a broken one is not', async () => {
    const serialShown = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connectTls(
          { port: port('mqtts'), host: '127.0.0.1', ca: readFileSync(authority.file) },
          () => {
            resolve(socket.getPeerCertificate().serialNumber)
            socket.destroy()
          },
        )
        socket.on('error', reject)
      })
    const kept = await client(port('mqtts'), tls())
    const before = await serialShown()
    const renewed = await authority.issue('localhost', 'server')
    await expect.poll(serialShown).toBe(renewed.serial)
    expect(renewed.serial).not.toBe(before)
    rmSync(renewed.key)
    await expect
      .poll(async () => (await cluster.robust('cluster', 'logs', 'broker-1')).stdout)
      .toContain('BAD_CERTIFICATE')
    expect(await serialShown()).toBe(renewed.serial)
    await kept.mqtt.publishAsync('still', 'connected', { qos: 1 })
    await authority.issue('localhost', 'server')
  })

  test('clients without a certificate that is vouched for are turned away where one is required', async () => {
    await expect(client(port('mqtts', 2), tls())).rejects.toThrow()
    const wrong = await stranger.issue('intruder')
    const withCertificate = ({ certificate, key }: { certificate: string; key: string }) =>
      tls({ cert: readFileSync(certificate), key: readFileSync(key) })
    await expect(client(port('mqtts', 2), withCertificate(wrong))).rejects.toThrow()
    const right = await authority.issue('device-1')
    const device = await client(port('mqtts', 2), withCertificate(right))
    await device.mqtt.publishAsync('devices', 'in', { qos: 1 })
  })

  test('behind a load balancer the client is who the PROXY header says; without one it is closed', async () => {
    const CONNECT = Buffer.from('101000044d51545404020000000474657374', 'hex')
    const answered = (head: string): Promise<string> =>
      new Promise((resolve) => {
        const socket = connectSocket(port('mqtt', 2), '127.0.0.1')
        const chunks: Buffer[] = []
        socket.on('data', (chunk) => {
          chunks.push(chunk)
          socket.end()
        })
        socket.on('error', () => undefined)
        socket.on('close', () => resolve(Buffer.concat(chunks).toString('hex')))
        const bytes = Buffer.concat([Buffer.from(head), CONNECT])
        // Cut in the middle of the header, and between header and packet.
        for (const part of [bytes.subarray(0, 5), bytes.subarray(5)]) socket.write(part)
      })
    // Who has no name is let in from this machine only.
    expect(await answered('PROXY TCP4 127.0.0.9 10.0.0.1 4711 1883\r\n')).toBe('20020000')
    expect(await answered('PROXY TCP4 203.0.113.9 10.0.0.1 4711 1883\r\n')).toBe('20020005')
    expect(await answered('')).toBe('')
    const bad = await rawSocket(port('mqtt', 2))
    bad.write('PROXY TCP4 203.0.113.9 10.0.0.1 4711 1883\r\n')
    bad.write(Buffer.from('c000', 'hex'))
    await bad.closed_
    await expect
      .poll(async () => (await cluster.robust('cluster', 'logs', 'broker-2')).stdout)
      .toContain('203.0.113.9:4711')
  })
})

describe('bad input on a WebSocket port', () => {
  test.each([
    ['plain HTTP', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', '426'],
    [
      'another path',
      'GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
      '404',
    ],
    [
      'another subprotocol',
      'GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: chat\r\n\r\n',
      '400',
    ],
  ])('%s is answered in HTTP', async (_name, request, status) => {
    for (const at of [port('ws'), port('mqtt')]) {
      const socket = await rawSocket(at)
      socket.write(request)
      const answer = await socket.closed_
      expect(answer.toString()).toContain(`HTTP/1.1 ${status}`)
    }
  })

  test('a text frame closes that connection only [MQTT-6.0.0-1]', async () => {
    const bystander = await client(port('ws'), { protocol: 'ws', path: '/mqtt' })
    const closed = await new Promise<number>((resolve) => {
      void import('ws').then(({ WebSocket }) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port('ws')}/mqtt`, 'mqtt')
        socket.on('open', () => socket.send('text'))
        socket.on('close', (code) => resolve(code))
      })
    })
    expect(closed).toBe(1003)
    await bystander.mqtt.publishAsync('alive', 'yes', { qos: 1 })
  })
})
