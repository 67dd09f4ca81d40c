import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect, createServer as createNetServer } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MemoryStream } from '../../testing/memory-stream.ts'
import { VirtualClock } from '../../testing/virtual-clock.ts'
import { PlainConnection, PlainHeads, type PlainRequest, readPlain } from './plain-http.ts'

function request(body = 'body', fields: readonly string[] = ['Host: h']): string {
  const head = ['POST /a?b HTTP/1.1', ...fields, `Content-Length: ${Buffer.byteLength(body)}`]
  return `${head.join('\r\n')}\r\n\r\n${body}`
}

function kindOf(text: string): string {
  return readPlain(Buffer.from(text, 'latin1')).kind
}

describe('readPlain', () => {
  test('reads what is plain, and says how long it is', () => {
    const text = request('{"a":1}', ['Host: h:1', 'X-Amz-Target:  A.B\t', 'connection: Keep-Alive'])
    expect(readPlain(Buffer.from(`${text}POST`))).toEqual({
      kind: 'request',
      request: {
        url: '/a?b',
        headers: {
          ...{ host: 'h:1', 'x-amz-target': 'A.B', connection: 'Keep-Alive' },
          'content-length': '7',
        },
        body: Buffer.from('{"a":1}'),
      },
      bytes: text.length,
    })
  })

  test('waits for the rest of whatever may become plain, byte by byte', () => {
    const text = request()
    for (let length = 1; length < text.length; length++) {
      expect(kindOf(text.slice(0, length))).toBe('more')
    }
  })

  test.each([
    ['another method', request().replace('POST', 'GET')],
    ['a method in small letters', request().replace('POST', 'post')],
    ['an address with a host', request().replace('/a?b', 'http://h/a')],
    ['another version', request().replace('/1.1', '/1.0')],
    ['no host', request('', ['Accept: */*'])],
    ['a field that comes twice', request('', ['Host: h', 'host: i'])],
    ['two lengths', request('', ['Host: h', 'Content-Length: 0'])],
    ['no length', 'POST / HTTP/1.1\r\nHost: h\r\n\r\n'],
    ['a length with a sign', request().replace('Length: 4', 'Length: +4')],
    ['a length that is no number', request().replace('Length: 4', 'Length: 4,4')],
    ['a length that is long', request().replace('Length: 4', 'Length: 999999')],
    ['chunks', request('', ['Host: h', 'Transfer-Encoding: chunked'])],
    ['an expectation', request('', ['Host: h', 'Expect: 100-continue'])],
    ['an upgrade', request('', ['Host: h', 'Upgrade: h2c'])],
    ['an end of the connection', request('', ['Host: h', 'Connection: close'])],
    ['a folded field', request('', ['Host: h', 'A: b', ' c: d'])],
    ['white space before the colon', request('', ['Host : h'])],
    ['an empty value', request('', ['Host: h', 'A:'])],
    ['a bare line feed', request('', ['Host: h\nA: b'])],
    ['a bare carriage return', request('', ['Host: h', 'A: b\rc'])],
    ['a zero byte', request('', ['Host: h', 'A: b\0c'])],
    ['a byte above 127', request('', ['Host: h', 'A: \xe9'])],
    ['a name that is none', request('', ['Host: h', 'A(: b'])],
    ['a name of every object', request('', ['Host: h', 'constructor: b'])],
    ['another protocol', '\x16\x03\x01'],
    ['a head that is long', request('', ['Host: h', `A: ${'x'.repeat(10_000)}`])],
    ['a head that does not end', `POST / HTTP/1.1\r\nA: ${'x'.repeat(10_000)}`],
  ])('leaves %s to others', (_what, text) => {
    expect(kindOf(text)).toBe('other')
  })

  describe('beside the server of Node', () => {
    let server: Server
    beforeAll(async () => {
      server = createServer((asked, response) => {
        const chunks: Buffer[] = []
        asked.on('data', (chunk: Buffer) => chunks.push(chunk))
        asked.on('end', () => {
          const { method, url, headers } = asked
          response.setHeader('Connection', 'close')
          const body = Buffer.concat(chunks).toString('latin1')
          response.end(JSON.stringify({ method, url, headers, body }))
        })
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    })
    afterAll(() => {
      server.close()
    })

    function ask(bytes: Buffer): Promise<string> {
      return new Promise((resolve, reject) => {
        const chunks: Buffer[] = []
        const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
        socket.on('data', (chunk) => chunks.push(chunk))
        socket.on('error', reject)
        socket.on('close', () => resolve(Buffer.concat(chunks).toString()))
        socket.write(bytes)
      })
    }

    const piece = fc.constantFrom(
      ...['Host: h', 'A: b', 'a:b', 'A: b c ', 'A:\tb', 'X-Y-Z: "\t"', 'A : b', ' A: b', 'A: '],
      ...['Content-Length: 3', 'Content-Length: 0', 'content-length: 03', 'Content-Length: 3, 3'],
      ...['Connection: keep-alive', 'Transfer-Encoding: chunked', 'A: \x7f', 'A: \xff', 'A_B: c'],
    )
    const line = fc.constantFrom(
      ...[
        'POST / HTTP/1.1',
        'POST /a%20b?c=d#e HTTP/1.1',
        'POST  / HTTP/1.1',
        'POST /\xe9 HTTP/1.1',
      ],
      ...['POST / HTTP/1.1 ', 'GET / HTTP/1.1', 'POST / HTTP/2.0'],
    )
    const text = fc
      .tuple(line, fc.array(piece, { maxLength: 6 }), fc.constantFrom('', 'abc', 'abcdef'))
      .map(([first, pieces, body]) => {
        const fields = pieces.length > 3 ? pieces : [...pieces, 'Host: h', 'Content-Length: 3']
        return `${[first, ...fields].join('\r\n')}\r\n\r\n${body}`
      })

    test('reads the same, whatever it reads', async () => {
      let read = 0
      await fc.assert(
        fc.asyncProperty(text, async (given) => {
          const bytes = Buffer.from(given, 'latin1')
          const found = readPlain(bytes)
          if (found.kind !== 'request') return
          read++
          const answer = await ask(bytes.subarray(0, found.bytes))
          const { url, headers, body } = found.request
          expect(answer).toMatch(/^HTTP\/1\.1 200 /)
          expect(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4))).toEqual({
            ...{ method: 'POST', url, headers, body: body.toString('latin1') },
          })
        }),
        { numRuns: 1_000 },
      )
      expect(read).toBeGreaterThan(20)
    })
  })
})

describe('PlainConnection', () => {
  function start(accepts = true) {
    const clock = new VirtualClock()
    const written: string[] = []
    const requests: PlainRequest[] = []
    const stream = new MemoryStream((bytes) => written.push(bytes.toString()))
    const others: string[] = []
    const connection = new PlainConnection({
      ...{ stream, clock, idleMs: 1_000 },
      onRequest: (asked) => {
        requests.push(asked)
        return accepts
      },
      onOther: () => stream.on('data', (chunk: Buffer) => others.push(chunk.toString())),
    })
    const answer = (text: string, isLast = false) =>
      connection.answer(text, { encoding: 'latin1', isLast })
    const bodies = () => requests.map(({ body }) => body.toString())
    return { clock, written, stream, others, answer, bodies }
  }

  test('gives one request after the other, however they come', async () => {
    const { stream, answer, bodies, written } = start()
    const all = Buffer.from(request('1') + request('2') + request('3'))
    for (const byte of all.subarray(0, 100)) stream.receive(Buffer.of(byte))
    stream.receive(all.subarray(100))
    await expect.poll(bodies).toEqual(['1'])
    answer('A')
    expect(bodies()).toEqual(['1', '2'])
    answer('B')
    answer('C')
    expect([bodies(), written]).toEqual([
      ['1', '2', '3'],
      ['A', 'B', 'C'],
    ])
  })

  test('gives away, with every byte, what is not plain, also behind what was', async () => {
    const { stream, answer, bodies, others } = start()
    const strange = 'GET / HTTP/1.1\r\n\r\n'
    stream.receive(Buffer.from(request('1') + strange))
    await expect.poll(bodies).toEqual(['1'])
    answer('A')
    await expect.poll(() => others.join('')).toBe(strange)
    stream.receive(Buffer.from('more'))
    await expect.poll(() => others.join('')).toBe(`${strange}more`)
  })

  test('gives away what is refused', async () => {
    const { stream, others } = start(false)
    stream.receive(Buffer.from(request('1') + request('2')))
    await expect.poll(() => others.join('')).toBe(request('1') + request('2'))
  })

  test('gives away what does not come in time', async () => {
    const { stream, clock, others, bodies } = start()
    stream.receive(Buffer.from(request('12').slice(0, -1)))
    await clock.advance(999)
    expect(others).toEqual([])
    await clock.advance(1)
    await expect.poll(() => others.join('')).toBe(request('12').slice(0, -1))
    expect(bodies()).toEqual([])
  })

  test('ends when nothing comes for a while, unless an answer is awaited', async () => {
    const idleMs = 50
    const asked: PlainConnection[] = []
    const server = createNetServer((stream) => {
      const connection: PlainConnection = new PlainConnection({
        ...{ stream, idleMs, clock: new VirtualClock() },
        onRequest: () => asked.push(connection) > 0,
        onOther: () => undefined,
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const [idle, busy] = [0, 1].map(() => connect((server.address() as AddressInfo).port))
    const closed: unknown[] = []
    idle?.resume().on('close', () => closed.push(idle))
    busy?.resume().on('close', () => closed.push(busy))
    busy?.write(request())
    await expect.poll(() => [closed.length, closed[0] === idle, asked.length]).toEqual([1, true, 1])
    asked[0]?.answer('A', { encoding: 'latin1', isLast: false })
    await expect.poll(() => closed.length).toBe(2)
    server.close()
  })

  test('ends with its last answer, and answers nobody who has gone', async () => {
    const { stream, answer, bodies, written } = start()
    stream.receive(Buffer.from(request('1') + request('2')))
    await expect.poll(bodies).toEqual(['1'])
    answer('A', true)
    await expect.poll(() => stream.destroyed).toBe(true)
    answer('B')
    expect([bodies(), written]).toEqual([['1'], ['A']])
  })
})

describe('PlainHeads', () => {
  test('say the time, and how long a connection is kept', () => {
    const heads = new PlainHeads(new VirtualClock(), 75_000)
    expect(heads.begin(200, false)).toMatch(
      /^HTTP\/1\.1 200 OK\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=75\r\n$/,
    )
    expect(heads.begin(404, true)).toMatch(
      /^HTTP\/1\.1 404 Not Found\r\n.*\r\nConnection: close\r\n$/,
    )
  })
})
