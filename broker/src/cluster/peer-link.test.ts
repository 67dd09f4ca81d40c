import { EventEmitter } from 'node:events'
import { broker } from '@robust/proto'
import { describe, expect, test } from 'vitest'
import { settle } from '../testing/virtual-clock.ts'
import { LiveReader } from './live-frames.ts'
import { PeerLink, type PeerStream } from './peer-link.ts'

class FakeStream extends EventEmitter {
  readonly frames: broker.PeerFrame[] = []
  readonly live: Buffer[] = []
  takes = true

  write(frame: broker.PeerFrame): boolean {
    this.frames.push(frame)
    return this.takes
  }

  writeLive(frame: Buffer): boolean {
    this.live.push(frame)
    return this.takes
  }

  end(): void {
    this.emit('end')
  }
}

function link() {
  const stream = new FakeStream()
  const items: broker.PeerItem[] = []
  let closed = 0
  const created = new PeerLink(stream as unknown as PeerStream, {
    item: (_link, item) => items.push(item),
    live: () => undefined,
    closed: () => {
      closed++
    },
  })
  return { link: created, stream, items, closed: () => closed }
}

const publish = (bytes: number) => ({
  $case: 'publish' as const,
  value: broker.Publish.fromPartial({ message: { payload: new Uint8Array(bytes) } }),
})

const LIVE = {
  address: '',
  guarantee: 0,
  retain: false,
  dialect: 'mqtt',
  properties: new Uint8Array(0),
  timestampMs: 1,
  expiresAtMs: 0,
  publisher: 'p',
  token: '',
} as const

describe('PeerLink', () => {
  test('items of one turn share a frame, in order', async () => {
    const { link: peer, stream } = link()
    for (let i = 1; i <= 3; i++) peer.send(publish(i))
    expect(stream.frames).toEqual([])
    await settle()
    expect(stream.frames).toHaveLength(1)
    const sizes = stream.frames[0]?.items.map(({ kind }) =>
      kind?.$case === 'publish' ? kind.value.message?.payload.byteLength : undefined,
    )
    expect(sizes).toEqual([1, 2, 3])
  })

  test('large items are spread over frames', async () => {
    const { link: peer, stream } = link()
    for (let i = 0; i < 10; i++) peer.send(publish(3 * 1024 * 1024))
    await settle()
    expect(stream.frames.map(({ items }) => items.length)).toEqual([2, 2, 2, 2, 2])
  })

  test('live messages are encoded at once and keep their place among items', async () => {
    const { link: peer, stream } = link()
    const order: string[] = []
    const written = { frames: stream.frames, live: stream.live }
    stream.write = (frame) => {
      order.push(`items ${frame.items.length}`)
      return written.frames.push(frame) > 0
    }
    stream.writeLive = (frame) => {
      const seen: string[] = []
      reader.read(frame, ({ address }) => seen.push(address))
      order.push(`live ${seen.join(' ')}`)
      return true
    }
    const reader = new LiveReader()
    const payload = Buffer.from('x')
    const message = { ...LIVE, payload }
    peer.sendLive({ ...message, address: 'a' })
    peer.sendLive({ ...message, address: 'b' })
    payload.fill(0)
    peer.send(publish(1))
    peer.send(publish(2))
    peer.sendLive({ ...message, address: 'c' })
    await settle()
    expect(order).toEqual(['live a b', 'items 2', 'live c'])
  })

  test('a full stream is waited for', async () => {
    const { link: peer, stream } = link()
    stream.takes = false
    peer.send(publish(1))
    await settle()
    peer.send(publish(2))
    await settle()
    expect(stream.frames).toHaveLength(1)
    stream.takes = true
    stream.emit('drain')
    expect(stream.frames).toHaveLength(2)
  })

  test('a reply finds its request, and a broken stream answers all that are left with unknown', async () => {
    const { link: peer, stream, closed } = link()
    const replies: (string | undefined)[] = []
    for (let i = 0; i < 2; i++) peer.request(publish(1), (kind) => replies.push(kind?.$case))
    await settle()
    const id = stream.frames[0]?.items[1]?.id ?? 0
    stream.emit('data', { items: [{ id: 0, replyTo: id, kind: { $case: 'done', value: {} } }] })
    expect(replies).toEqual(['done'])
    stream.emit('error', new Error('broken'))
    expect(replies).toEqual(['done', undefined])
    expect(closed()).toBe(1)
    peer.request(publish(1), (kind) => replies.push(kind?.$case))
    expect(replies).toEqual(['done', undefined, undefined])
  })
})
