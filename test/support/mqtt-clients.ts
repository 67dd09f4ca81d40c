/** Unmodified MQTT clients for tests: MQTT.js, and Debian's mosquitto_pub and mosquitto_sub. */
import { execFile, spawn } from 'node:child_process'
import { connect as connectSocket, type Socket } from 'node:net'
import mqtt, {
  type IClientOptions,
  type IConnackPacket,
  type IPublishPacket,
  type MqttClient,
} from 'mqtt'

export interface Received {
  readonly topic: string
  readonly text: string
  readonly packet: IPublishPacket
}

export interface Client {
  readonly mqtt: MqttClient
  readonly connack: IConnackPacket
  readonly received: Received[]
  texts(): string[]
  end(): Promise<void>
}

/** Connected once; does not reconnect by itself unless told to. */
export async function connect(port: number, options: IClientOptions = {}): Promise<Client> {
  const received: Received[] = []
  const client = mqtt.connect({
    host: '127.0.0.1',
    port,
    protocolVersion: 5,
    reconnectPeriod: 0,
    connectTimeout: 20_000,
    ...options,
  })
  client.on('message', (topic, payload, packet) => {
    received.push({ topic, text: payload.toString(), packet })
  })
  const connack = await new Promise<IConnackPacket>((resolve, reject) => {
    client.once('connect', resolve)
    client.once('error', reject)
    client.once('close', () => reject(new Error('the connection was closed')))
  })
  client.on('error', () => undefined)
  return {
    mqtt: client,
    connack,
    received,
    texts: () => received.map(({ text }) => text),
    end: () => client.endAsync(true).catch(() => undefined),
  }
}

/** Runs mosquitto_pub; rejects unless it exits with 0. */
export function mosquittoPub(port: number, ...args: string[]): Promise<string> {
  return run('mosquitto_pub', ['-h', '127.0.0.1', '-p', String(port), ...args])
}

/** Runs mosquitto_sub, which must end by itself (-C or -W); resolves with what it printed. */
export function mosquittoSub(port: number, ...args: string[]): Promise<string> {
  return run('mosquitto_sub', ['-h', '127.0.0.1', '-p', String(port), ...args], [0, 27])
}

/** A mosquitto_sub that is subscribed when it resolves (it prints its SUBACK in debug mode). */
export function startMosquittoSub(
  port: number,
  ...args: string[]
): Promise<{ lines: () => string[]; stop: () => void }> {
  // Without stdbuf a pipe gets nothing before 4 KiB.
  const command = ['-oL', 'mosquitto_sub', '-d', '-v', '-h', '127.0.0.1', '-p', String(port)]
  const child = spawn('stdbuf', [...command, ...args])
  let output = ''
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (!output.includes('SUBACK')) return
      resolve({
        lines: () =>
          output.split('\n').filter((line) => !/^(Client|Subscribed) /.test(line) && line),
        stop: () => child.kill(),
      })
    })
  })
}

function run(command: string, args: string[], accepted = [0]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { timeout: 30_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code
      if (typeof code === 'number' && accepted.includes(code)) resolve(stdout)
      else reject(new Error(`${command} ${args.join(' ')}: ${error?.message} ${stderr}`))
    })
  })
}

/** A bare socket, for bytes that no client sends. */
export function rawSocket(port: number): Promise<Socket & { closed_: Promise<Buffer> }> {
  const socket = connectSocket(port, '127.0.0.1') as Socket & { closed_: Promise<Buffer> }
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('error', () => undefined)
  socket.closed_ = new Promise((resolve) => {
    socket.on('close', () => resolve(Buffer.concat(chunks)))
  })
  return new Promise((resolve) => socket.on('connect', () => resolve(socket)))
}
