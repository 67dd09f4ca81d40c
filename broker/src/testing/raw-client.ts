/**
 * An MQTT client that sends exactly the packets, or the bytes, that it is told, and keeps what it gets. It
 * reads and writes by mqtt-packet, which shares nothing with the broker's codec.
 */
import { connect as connectSocket, type Socket } from 'node:net'
import {
  generate,
  type IConnackPacket,
  type IConnectPacket,
  type Packet,
  type Parser,
  parser,
} from 'mqtt-packet'

type Command = Packet['cmd']
type Of<C extends Command> = Extract<Packet, { cmd: C }>

const WAIT_MS = 15_000

export class RawClient {
  readonly socket: Socket
  /** Everything that came and was not asked for yet. */
  readonly inbox: Packet[] = []
  readonly #chunks: Buffer[] = []
  readonly #waiting = new Set<() => void>()
  #parser: Parser
  #version = 5
  isClosed = false

  private constructor(socket: Socket) {
    this.socket = socket
    this.#parser = this.#newParser()
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk)
      this.#parser.parse(chunk)
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.isClosed = true
      this.#wake()
    })
  }

  get version(): number {
    return this.#version
  }

  /** Before anything comes. */
  set version(version: number) {
    this.#version = version
    this.#parser = this.#newParser()
  }

  static open(port: number): Promise<RawClient> {
    const socket = connectSocket({ port, host: '127.0.0.1', noDelay: true })
    return new Promise((resolve, reject) => {
      socket.once('error', reject)
      socket.once('connect', () => resolve(new RawClient(socket)))
    })
  }

  /** Every byte that came. */
  get bytes(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  send(packet: Packet): void {
    this.socket.write(generate(packet, { protocolVersion: this.version }))
  }

  sendBytes(...bytes: (Buffer | string | readonly number[])[]): void {
    const parts = bytes.map((part) =>
      typeof part === 'string' ? Buffer.from(part, 'hex') : Buffer.from(part),
    )
    this.socket.write(Buffer.concat(parts))
  }

  /** Sends CONNECT and gives the answer. */
  async connect(more: Partial<IConnectPacket> = {}): Promise<IConnackPacket> {
    const connect: IConnectPacket = {
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 5,
      clean: true,
      keepalive: 0,
      clientId: '',
      ...more,
    }
    this.version = connect.protocolVersion ?? 5
    this.send(connect)
    return this.next('connack')
  }

  /** The next packet of a kind; those before it are passed over only if they are of another kind. */
  async next<C extends Command>(cmd: C): Promise<Of<C>> {
    const found = (): number => this.inbox.findIndex((packet) => packet.cmd === cmd)
    await this.#until(() => found() >= 0, `a ${cmd}`)
    return this.inbox.splice(found(), 1)[0] as Of<C>
  }

  /** Every PUBLISH that has come and was not asked for. */
  get publishes(): Of<'publish'>[] {
    return this.inbox.filter((packet) => packet.cmd === 'publish')
  }

  /** The server has closed the connection. */
  closed(): Promise<void> {
    return this.#until(() => this.isClosed, 'the end of the connection')
  }

  /** The server has answered everything that was sent before: nothing more is on the way. */
  async ping(): Promise<void> {
    this.send({ cmd: 'pingreq' })
    await this.next('pingresp')
  }

  async subscribe(topic: string, qos: 0 | 1 | 2 = 0, more: object = {}): Promise<Of<'suback'>> {
    const messageId = 1 + Math.floor(this.#chunks.length % 60_000)
    this.send({
      cmd: 'subscribe',
      messageId,
      subscriptions: [{ topic, qos, nl: false, rap: false, rh: 0, ...more }],
    })
    return this.next('suback')
  }

  publish(topic: string, payload: string, more: Partial<Of<'publish'>> = {}): void {
    this.send({
      ...{ cmd: 'publish', topic, payload, qos: 0, retain: false, dup: false },
      ...more,
    })
  }

  /** Ends without a word. */
  drop(): void {
    this.socket.destroy()
  }

  #newParser(): Parser {
    const made = parser({ protocolVersion: this.#version })
    made.on('packet', (packet: Packet) => {
      this.inbox.push(packet)
      this.#wake()
    })
    return made
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }

  #until(holds: () => boolean, what: string): Promise<void> {
    if (holds()) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(check)
      }
      const check = (): void => {
        if (holds()) {
          done()
          resolve()
        } else if (this.isClosed) {
          done()
          reject(new Error(`closed before ${what}; got ${JSON.stringify(this.inbox)}`))
        }
      }
      const timer = setTimeout(() => {
        done()
        reject(new Error(`waited in vain for ${what}; got ${JSON.stringify(this.inbox)}`))
      }, WAIT_MS)
      this.#waiting.add(check)
    })
  }
}
