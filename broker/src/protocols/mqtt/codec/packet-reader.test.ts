import { describe, expect, test } from 'vitest'
import type { Packet, ProtocolVersion } from '../packets.ts'
import { encode } from './encode.ts'
import { MqttError } from './mqtt-error.ts'
import { PacketReader, type PacketSink, type PublishView } from './packet-reader.ts'

function connect(version: ProtocolVersion = 4): Buffer {
  const common = { version, clientId: 'c', cleanStart: true, keepAliveSeconds: 0, properties: {} }
  return encode({ kind: 'connect', ...common }, version)
}

function publish(payload: string | Buffer, version: ProtocolVersion = 4): Buffer {
  const packet: Packet = {
    kind: 'publish',
    topic: 'a/b',
    payload: Buffer.from(payload),
    qos: 1,
    retain: false,
    dup: false,
    packetId: 7,
    properties: {},
  }
  return encode(packet, version)
}

class Recorder implements PacketSink {
  readonly log: string[] = []
  readonly views = new Set<PublishView>()
  onEach: () => void = () => {}

  publish(view: PublishView): void {
    this.views.add(view)
    this.#note(view.bytes.toString('utf8', view.payloadStart, view.end))
  }

  acknowledge(type: number, packetId: number, reasonCode: number): void {
    this.#note(`${type}:${packetId}:${reasonCode}`)
  }

  packet(packet: Packet): void {
    this.#note(packet.kind)
  }

  #note(entry: string): void {
    this.log.push(entry)
    this.onEach()
  }
}

function createReader(packetBytesMax = 1 << 20): { reader: PacketReader; sink: Recorder } {
  return { reader: new PacketReader({ packetBytesMax }), sink: new Recorder() }
}

function reasonOf(run: () => void): number | undefined {
  try {
    run()
  } catch (error) {
    if (error instanceof MqttError) return error.reasonCode
    throw error
  }
  return undefined
}

describe('PacketReader', () => {
  test('reports acknowledgements with and without a reason', () => {
    const { reader, sink } = createReader()
    reader.push(connect(5), sink)
    for (const hex of ['40020001', '5003000210', '620400039200', '70020004']) {
      reader.push(Buffer.from(hex, 'hex'), sink)
    }
    expect(sink.log).toEqual(['connect', '4:1:0', '5:2:16', '6:3:146', '7:4:0'])
  })

  test('reuses one view for every PUBLISH', () => {
    const { reader, sink } = createReader()
    reader.push(Buffer.concat([connect(), publish('1'), publish('2')]), sink)
    reader.push(publish('3'), sink)
    expect(sink.log).toEqual(['connect', '1', '2', '3'])
    expect(sink.views.size).toBe(1)
  })

  test('never overwrites the bytes of a packet that it had to put together', () => {
    const { reader, sink } = createReader()
    const kept: Buffer[] = []
    sink.publish = (view) => {
      kept.push(view.bytes.subarray(view.payloadStart, view.end))
    }
    reader.push(connect(), sink)
    for (const text of ['first', 'other', 'third']) {
      const frame = publish(text)
      reader.push(frame.subarray(0, 6), sink)
      reader.push(frame.subarray(6), sink)
    }
    expect(kept.map(String)).toEqual(['first', 'other', 'third'])
  })

  test('stops after the packet in which it is paused and goes on from there', () => {
    const { reader, sink } = createReader()
    sink.onEach = () => {
      reader.paused = true
    }
    const rest = Buffer.concat([publish('1'), publish('2'), publish('3')])
    reader.push(Buffer.concat([connect(), rest.subarray(0, -4)]), sink)
    expect(sink.log).toEqual(['connect'])
    reader.push(rest.subarray(-4, -2), sink)
    reader.push(rest.subarray(-2), sink)
    expect(reader.bufferedBytes).toBe(rest.length)
    reader.resume(sink)
    expect(sink.log).toEqual(['connect', '1'])
    reader.resume(sink)
    reader.resume(sink)
    expect(sink.log).toEqual(['connect', '1', '2', '3'])
    expect(reader.bufferedBytes).toBe(0)
  })

  test('keeps the order when it is pushed into after a pause was taken back by hand', () => {
    const { reader, sink } = createReader()
    reader.push(connect(), sink)
    reader.paused = true
    reader.push(publish('1'), sink)
    reader.paused = false
    reader.push(publish('2'), sink)
    expect(sink.log).toEqual(['connect', '1', '2'])
  })

  test('resume within a sink takes the pause back', () => {
    const { reader, sink } = createReader()
    sink.onEach = () => {
      reader.paused = true
      reader.resume(sink)
    }
    reader.push(Buffer.concat([connect(), publish('1'), publish('2')]), sink)
    expect(sink.log).toEqual(['connect', '1', '2'])
  })

  test('ignores what follows a DISCONNECT [MQTT-3.14.4-1]', () => {
    const { reader, sink } = createReader()
    reader.push(Buffer.concat([connect(), Buffer.from('e000', 'hex'), publish('1')]), sink)
    reader.push(Buffer.from('ffffffffff', 'hex'), sink)
    expect(sink.log).toEqual(['connect', 'disconnect'])
    expect(reader.bufferedBytes).toBe(0)
  })

  test('refuses a packet before CONNECT from its first byte [MQTT-3.1.0-1]', () => {
    const { reader, sink } = createReader()
    expect(() => reader.push(Buffer.from('G'), sink)).toThrow('[MQTT-3.1.0-1]')
  })

  test('refuses a second CONNECT [MQTT-3.1.0-2]', () => {
    const { reader, sink } = createReader()
    expect(() => reader.push(Buffer.concat([connect(), connect()]), sink)).toThrow('[MQTT-3.1.0-2]')
    expect(sink.log).toEqual(['connect'])
  })

  test.each(['20020000', '9003000100', 'b0020001', 'd000'])(
    'refuses the packet %s that only servers send',
    (hex) => {
      const { reader, sink } = createReader()
      reader.push(connect(), sink)
      const refused = reasonOf(() => reader.push(Buffer.from(hex, 'hex'), sink))
      expect(refused).toBe(0x82)
    },
  )

  test.each(['10', '82', 'a2', 'c0'])('from a server refuses packet %s', (header) => {
    const reader = new PacketReader({ packetBytesMax: 100, from: 'server' })
    const bytes = Buffer.from(`${header}00`, 'hex')
    expect(reasonOf(() => reader.push(bytes, new Recorder()))).toBe(0x82)
  })

  test('from a server takes a subscription identifier, from a client not [MQTT-3.3.4-6]', () => {
    const bytes = Buffer.from('300600016102 0b05'.replace(' ', ''), 'hex')
    const { reader, sink } = createReader()
    reader.push(connect(5), sink)
    expect(() => reader.push(bytes, sink)).toThrow('[MQTT-3.3.4-6]')
    const other = new PacketReader({ packetBytesMax: 100, from: 'server' })
    other.version = 5
    const recorder = new Recorder()
    other.push(bytes, recorder)
    expect(recorder.log).toEqual([''])
  })

  test('refuses an oversized packet from its header, byte by byte too [MQTT-3.2.2-15]', () => {
    const { reader, sink } = createReader(200)
    const fits = publish(Buffer.alloc(200 - 3 - 7))
    expect(fits.length).toBe(200)
    reader.push(Buffer.concat([connect(), fits]), sink)
    const header = Buffer.from('32c601', 'hex')
    reader.push(header.subarray(0, 1), sink)
    reader.push(header.subarray(1, 2), sink)
    expect(reasonOf(() => reader.push(header.subarray(2), sink))).toBe(0x95)
    expect(reader.bufferedBytes).toBe(0)
  })

  test('refuses a remaining length of five bytes', () => {
    const { reader, sink } = createReader()
    const bytes = Buffer.from('30ffffffff01', 'hex')
    reader.push(connect(), sink)
    expect(reasonOf(() => reader.push(bytes, sink))).toBe(0x81)
  })

  test('takes a remaining length with spare bytes before MQTT 5 only [MQTT-1.5.5-1]', () => {
    const bytes = Buffer.from('c08000', 'hex')
    const old = createReader()
    old.reader.push(connect(4), old.sink)
    for (const byte of bytes) old.reader.push(Buffer.of(byte), old.sink)
    expect(old.sink.log).toEqual(['connect', 'pingreq'])
    const five = createReader()
    five.reader.push(connect(5), five.sink)
    expect(() => five.reader.push(bytes, five.sink)).toThrow('[MQTT-1.5.5-1]')
  })

  test('delivers what precedes the fault, then repeats its error', () => {
    const { reader, sink } = createReader()
    const bytes = Buffer.concat([connect(), publish('1'), Buffer.from('3600', 'hex'), publish('2')])
    const first = reasonOf(() => reader.push(bytes, sink))
    expect(first).toBe(0x81)
    expect(reasonOf(() => reader.push(publish('3'), sink))).toBe(0x81)
    expect(sink.log).toEqual(['connect', '1'])
  })

  test('passes on what a sink throws and is of no use afterwards', () => {
    const { reader, sink } = createReader()
    reader.push(connect(), sink)
    sink.onEach = () => {
      throw new RangeError('of the sink')
    }
    expect(() => reader.push(publish('1'), sink)).toThrow('of the sink')
    expect(() => reader.push(publish('2'), sink)).toThrow('of the sink')
    expect(sink.log).toEqual(['connect', '1'])
  })

  test('does not let a sink push into it', () => {
    const { reader, sink } = createReader()
    sink.onEach = () => reader.push(publish('1'), sink)
    expect(() => reader.push(connect(), sink)).toThrow('must not push')
  })

  test('puts a large packet together in linear time, without taking its length on trust', () => {
    const { reader, sink } = createReader(64 << 20)
    const payload = Buffer.alloc(32 << 20, 0x61)
    const frame = publish(payload)
    let size = 0
    sink.publish = (view) => {
      size = view.end - view.payloadStart
    }
    reader.push(connect(), sink)
    const before = process.memoryUsage().arrayBuffers
    reader.push(frame.subarray(0, 6), sink)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20)
    for (let at = 6; at < frame.length; at += 65_536) {
      reader.push(frame.subarray(at, at + 65_536), sink)
    }
    expect(size).toBe(payload.length)
    expect(reader.bufferedBytes).toBe(0)
  })
})
