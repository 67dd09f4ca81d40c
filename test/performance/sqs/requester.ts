// The raw SQS client of the benchmarks: as little work for each request as there can be.

import { connect, type Socket } from 'node:net'

/** One connection, one request at a time. */
export class Requester {
  readonly #socket: Socket
  #chunks: Buffer[] = []
  #bytes = 0
  /** Of the answer that is being read; -1 while its head is not complete. */
  #end = -1
  #bodyAt = 0
  #done: ((body: Buffer) => void) | undefined

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1')
    this.#socket.setNoDelay()
    this.#socket.on('data', (chunk) => this.#read(chunk))
    this.#socket.on('error', (error) => fail(error.message))
    this.#socket.on('close', () => this.#done && fail('a connection was closed'))
  }

  ask(request: Buffer): Promise<Buffer> {
    return new Promise((resolve) => {
      this.#done = resolve
      this.#socket.write(request)
    })
  }

  end(): void {
    this.#done = undefined
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#end < 0) {
      const all = Buffer.concat(this.#chunks)
      this.#chunks = [all]
      const head = all.indexOf('\r\n\r\n')
      if (head < 0) return
      const text = all.toString('latin1', 0, head)
      if (!text.startsWith('HTTP/1.1 200')) fail(all.toString())
      this.#bodyAt = head + 4
      this.#end = this.#bodyAt + Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
    }
    if (this.#bytes < this.#end) return
    const body = Buffer.concat(this.#chunks).subarray(this.#bodyAt, this.#end)
    this.#chunks = []
    this.#bytes = 0
    this.#end = -1
    const done = this.#done
    this.#done = undefined
    done?.(body)
  }
}

export function fail(reason: string): never {
  process.stderr.write(`${reason}\n`)
  process.exit(1)
}

/** With a signature that nobody checks. */
export function request(action: string, input: object): Buffer {
  const body = JSON.stringify(input)
  const head = [
    'POST / HTTP/1.1',
    'Host: 127.0.0.1',
    `X-Amz-Target: AmazonSQS.${action}`,
    'Content-Type: application/x-amz-json-1.0',
    'Authorization: AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ]
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`)
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
