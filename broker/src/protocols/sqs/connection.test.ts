import { connect, type Socket } from 'node:net'
import { ListQueuesCommand, SendMessageCommand } from '@aws-sdk/client-sqs'
import { afterEach, describe, expect, test } from 'vitest'
import { SqsUser } from '../../testing/sqs-client.ts'
import { SqsBench } from '../../testing/sqs-fixtures.ts'

const running: SqsBench[] = []

async function start(): Promise<SqsBench> {
  const bench = await new SqsBench().start()
  running.push(bench)
  return bench
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((bench) => bench.stop()))
})

const JSON_HEADERS = { 'content-type': 'application/x-amz-json-1.0' }

function post(bench: SqsBench, body: string, headers: Record<string, string> = {}) {
  return fetch(bench.endpoint, { method: 'POST', body, headers })
}

function target(action: string): Record<string, string> {
  return { ...JSON_HEADERS, 'x-amz-target': `AmazonSQS.${action}` }
}

/** Writes and reads as nobody's library would. */
class RawSocket {
  readonly #socket: Socket
  text = ''
  isClosed = false

  constructor(endpoint: string) {
    this.#socket = connect(Number(new URL(endpoint).port), '127.0.0.1')
    this.#socket.on('data', (chunk) => {
      this.text += chunk.toString()
    })
    this.#socket.on('close', () => {
      this.isClosed = true
    })
    this.#socket.on('error', () => undefined)
  }

  write(text: string): void {
    this.#socket.write(text)
  }

  end(): void {
    this.#socket.destroy()
  }
}

describe('requests that are wrong', () => {
  test.each([
    ['{', 'SendMessage', 400, 'com.amazon.coral.service#SerializationException'],
    ['{}', 'SendMessage', 400, 'com.amazon.coral.service#MissingRequiredParameterException'],
    ['{}', 'Nonsense', 400, 'com.amazon.coral.service#UnknownOperationException'],
    ['{"QueueUrl":"x"}', 'DeleteQueue', 404, 'com.amazonaws.sqs#InvalidAddress'],
    ['{"QueueUrl":"/1/none"}', 'DeleteQueue', 400, 'com.amazonaws.sqs#QueueDoesNotExist'],
  ])('%s to %s answers in JSON', async (body, action, status, type) => {
    const answer = await post(await start(), body, target(action))
    expect(answer.status).toBe(status)
    expect(answer.headers.get('x-amzn-query-error')).toMatch(/^[\w.]+;Sender$/)
    expect(answer.headers.get('x-amzn-requestid')).toMatch(/^[0-9a-f-]{36}$/)
    expect(await answer.json()).toMatchObject({ __type: type, message: expect.any(String) })
  })

  test.each([
    ['', 'MissingAction'],
    ['Action=Nonsense', 'InvalidAction'],
    ['Action=ListQueues&Version=1999-01-01', 'NoSuchVersion'],
    ['Action=ListQueues&MaxResults=x', 'MalformedInput'],
    ['Action=DeleteQueue&QueueUrl=/1/none', 'AWS.SimpleQueueService.NonExistentQueue'],
    ['<xml/>', 'MissingAction'],
  ])('%s answers in XML', async (body, code) => {
    const answer = await post(await start(), body)
    expect(answer.status).toBe(400)
    expect(answer.headers.get('content-type')).toBe('text/xml')
    expect(await answer.text()).toMatch(`<Type>Sender</Type><Code>${code}</Code>`)
  })

  test('that are too large are refused before they have come, and others go on', async () => {
    const bench = await start()
    const other = new SqsUser(bench.endpoint)
    const url = await other.queue()
    const socket = new RawSocket(bench.endpoint)
    const head = 'POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.SendMessage\r\n'
    socket.write(`${head}Content-Length: 1000000000\r\n\r\n{"half`)
    await expect.poll(() => socket.text).toMatch('HTTP/1.1 413')
    expect(socket.text).toMatch('RequestEntityTooLarge')
    await expect.poll(() => socket.isClosed).toBe(true)
    await other.send(url, 'm')
    expect(await other.receive(url)).toHaveLength(1)
    other.client.destroy()
  })

  test('that do not say how large they are end at the limit', async () => {
    const bench = await start()
    const socket = new RawSocket(bench.endpoint)
    socket.write('POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n')
    const chunk = `100000\r\n${'x'.repeat(0x100000)}\r\n`
    for (let count = 0; count < 5; count++) socket.write(chunk)
    await expect.poll(() => socket.text).toMatch('HTTP/1.1 413')
    await expect.poll(() => socket.isClosed).toBe(true)
  })

  test('that ask before they send are told at once', async () => {
    const bench = await start()
    const large = new RawSocket(bench.endpoint)
    const head = 'POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n'
    large.write(`${head}Content-Length: 1000000000\r\n\r\n`)
    await expect.poll(() => large.text).toMatch(/^HTTP\/1\.1 413/)
    const small = new RawSocket(bench.endpoint)
    small.write(`${head}Content-Length: 17\r\n\r\n`)
    await expect.poll(() => small.text).toMatch(/^HTTP\/1\.1 100/)
    small.write('Action=ListQueues')
    await expect.poll(() => small.text).toMatch('HTTP/1.1 200')
    small.end()
  })

  test('that are no HTTP end the connection', async () => {
    const socket = new RawSocket((await start()).endpoint)
    socket.write('\x10\x26\x00\x04MQTT\r\n\r\n')
    await expect.poll(() => socket.text).toMatch('HTTP/1.1 400')
    await expect.poll(() => socket.isClosed).toBe(true)
  })
})

describe('the URL of a queue', () => {
  test('has the host that the client named, and any host is understood', async () => {
    const bench = await start()
    const port = new URL(bench.endpoint).port
    const named = new SqsUser(`http://localhost:${port}`)
    const url = await named.queue({}, 'q')
    expect(url).toBe(`http://localhost:${port}/000000000000/q`)
    await named.client.send(
      new SendMessageCommand({
        QueueUrl: 'https://queue.amazonaws.com/000000000000/q',
        MessageBody: 'm',
      }),
    )
    await named.send(`http://x:1/queue/us-east-1/000000000000/q`, 'm')
    expect(await named.receive(url)).toHaveLength(2)
    const forwarded = await post(bench, 'Action=GetQueueUrl&QueueName=q', {
      'x-forwarded-proto': 'https',
    })
    expect(await forwarded.text()).toMatch(`<QueueUrl>https://127.0.0.1:${port}/000000000000/q<`)
    named.client.destroy()
  })

  test('is where a form may be sent to', async () => {
    const bench = await start()
    const user = new SqsUser(bench.endpoint)
    const url = await user.queue({}, 'q')
    const sent = await fetch(`${url}?Action=SendMessage&MessageBody=by+GET`)
    expect(await sent.text()).toMatch('<SendMessageResponse')
    expect((await user.receive(url)).map(({ Body }) => Body)).toEqual(['by GET'])
    user.client.destroy()
  })
})

describe('the server', () => {
  test('does not let pages of other sites use a browser on this machine', async () => {
    const socket = new RawSocket((await start()).endpoint)
    const form = 'GET /?Action=ListQueues HTTP/1.1\r\nHost: h\r\n'
    socket.write(`${form}Sec-Fetch-Site: cross-site\r\n\r\n`)
    await expect.poll(() => socket.text).toMatch('HTTP/1.1 403')
    socket.write(`${form}Sec-Fetch-Site: none\r\n\r\n`)
    await expect.poll(() => socket.text).toMatch('HTTP/1.1 200')
    socket.end()
  })

  test('tells its health', async () => {
    const bench = await start()
    const answer = await fetch(`${bench.endpoint}/health`)
    expect([answer.status, await answer.json()]).toEqual([200, { status: 'ok' }])
  })

  test('refuses connections above the limit in words that clients try again on', async () => {
    const bench = await start()
    bench.limits.connectionsMax = 0
    const answer = await post(bench, '{}', target('ListQueues'))
    expect(answer.status).toBe(503)
    expect(answer.headers.get('connection')).toBe('close')
    expect((await fetch(`${bench.endpoint}/health`)).status).toBe(503)
  })

  test('takes nothing while memory is short', async () => {
    const bench = await start()
    bench.isOutOfMemory = true
    expect((await post(bench, '{}', target('ListQueues'))).status).toBe(503)
  })

  test('answers who waits when it stops, and lets nobody wait for it', async () => {
    const bench = await start()
    const user = new SqsUser(bench.endpoint)
    const url = await user.queue()
    const waiting = user.receive(url, { WaitTimeSeconds: 20 })
    await expect.poll(() => bench.server.counters().more['requests']).toBe(2)
    const begunAt = performance.now()
    await bench.server.stop()
    expect(await waiting).toEqual([])
    expect(performance.now() - begunAt).toBeLessThan(3_000)
    user.client.destroy()
  })

  test('counts, lists its clients, and ends those that an operator names', async () => {
    const bench = await start()
    const user = new SqsUser(bench.endpoint)
    const url = await user.queue()
    await user.send(url, 'm')
    await user.receive(url)
    expect(bench.server.counters()).toMatchObject({
      connections: 1,
      messagesIn: 1,
      messagesOut: 1,
      opened: 1,
      more: { requests: 3 },
    })
    expect(bench.server.counters().bytesIn).toBeGreaterThan(500)
    const [client] = bench.server.clients()
    expect(client).toMatchObject({ protocol: 'SQS', entrance: 'sqs' })
    expect(bench.server.kick('nobody')).toBe(false)
    expect(bench.server.kick(client?.clientId as string)).toBe(true)
    await expect.poll(() => bench.server.connections).toBe(0)
    user.client.destroy()
  })

  test('moves as many clients as it is told, if they may be closed', async () => {
    const bench = await start()
    const users = await Promise.all(
      Array.from({ length: 3 }, async () => {
        const user = new SqsUser(bench.endpoint)
        await user.client.send(new ListQueuesCommand({}))
        return user
      }),
    )
    const move = (closeOthers: boolean) =>
      bench.server.moveClients(2, { servers: [], serversBy: () => [], closeOthers })
    expect([move(false), move(true)]).toEqual([0, 2])
    await expect.poll(() => bench.server.connections).toBe(1)
    for (const { client } of users) client.destroy()
  })
})
