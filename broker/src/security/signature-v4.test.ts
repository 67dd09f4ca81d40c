import { createHash, createHmac } from 'node:crypto'
import { SignatureV4 } from '@smithy/signature-v4'
import { describe, expect, test } from 'vitest'
import {
  parseSignature,
  SignatureError,
  SignatureVerifier,
  type SignedRequest,
} from './signature-v4.ts'

const SECRET = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'

/** As the client's library wants it. */
class Sha256 {
  readonly #secret: string | Uint8Array | undefined
  readonly #parts: (string | Uint8Array)[] = []

  constructor(secret?: string | Uint8Array) {
    this.#secret = secret
  }

  update(data: string | Uint8Array): void {
    this.#parts.push(data)
  }

  digest(): Promise<Uint8Array> {
    const hash =
      this.#secret === undefined ? createHash('sha256') : createHmac('sha256', this.#secret)
    for (const part of this.#parts) hash.update(part)
    return Promise.resolve(hash.digest())
  }
}

const signer = new SignatureV4({
  service: 'sqs',
  region: 'eu-west-1',
  credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: SECRET },
  sha256: Sha256 as never,
})

async function signed(body = '{"a":1}'): Promise<SignedRequest> {
  const request = await signer.sign({
    method: 'POST',
    protocol: 'http:',
    hostname: '127.0.0.1',
    path: '/000000000000/a b',
    query: { 'x y': '1+2', b: ['2', '1'] },
    headers: { host: '127.0.0.1:9324', 'x-amz-target': 'AmazonSQS.ListQueues', odd: ' a   b ' },
    body,
  })
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name.toLowerCase(), value]),
  )
  const query = 'x%20y=1%2B2&b=2&b=1'
  return { method: 'POST', path: '/000000000000/a b', query, headers, body: Buffer.from(body) }
}

function isRight(request: SignedRequest, secret = SECRET): boolean {
  const signature = parseSignature(request)
  return signature !== undefined && new SignatureVerifier().verify(request, signature, secret)
}

describe('SignatureVerifier', () => {
  test('takes what the official signer signs', async () => {
    const request = await signed()
    expect(parseSignature(request)).toMatchObject({
      keyId: 'AKIDEXAMPLE',
      region: 'eu-west-1',
      service: 'sqs',
      expiresSeconds: undefined,
    })
    expect(isRight(request)).toBe(true)
  })

  test('refuses a request that is another one', async () => {
    const request = await signed()
    const others: SignedRequest[] = [
      { ...request, body: Buffer.from('{"a":2}') },
      { ...request, method: 'GET' },
      { ...request, path: '/000000000000/other' },
      { ...request, query: '' },
      { ...request, headers: { ...request.headers, 'x-amz-target': 'AmazonSQS.DeleteQueue' } },
      { ...request, headers: { ...request.headers, host: 'elsewhere' } },
    ]
    expect(others.map((other) => isRight(other))).toEqual(others.map(() => false))
    expect(isRight(request, `${SECRET}x`)).toBe(false)
  })

  test('refuses content that is not signed, and a target that is not', async () => {
    const request = await signed()
    const unsigned = { ...request.headers, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }
    expect(isRight({ ...request, headers: unsigned })).toBe(false)
    const { 'x-amz-target': target, ...rest } = request.headers
    const bare = await signer.sign({
      ...{ method: 'POST', protocol: 'http:', hostname: 'h', path: '/' },
      headers: { host: 'h' },
      body: '',
    })
    const headers = { ...rest, ...bare.headers, 'x-amz-target': target }
    expect(isRight({ method: 'POST', path: '/', query: '', headers, body: Buffer.of() })).toBe(
      false,
    )
  })

  test('takes a presigned request', async () => {
    const url = await signer.presign(
      {
        ...{ method: 'GET', protocol: 'http:', hostname: 'h', path: '/000000000000/q' },
        headers: { host: 'h:1' },
        query: { Action: 'SendMessage', MessageBody: "it's (a) *b*~" },
      },
      { expiresIn: 60 },
    )
    const query = Object.entries(url.query ?? {})
      .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`)
      .join('&')
    const request = {
      method: 'GET',
      path: url.path,
      query,
      headers: { host: 'h:1' },
      body: Buffer.of(),
    }
    expect(parseSignature(request)?.expiresSeconds).toBe(60)
    expect(isRight(request)).toBe(true)
    expect(isRight({ ...request, query: query.replace('SendMessage', 'DeleteQueue') })).toBe(false)
  })
})

describe('parseSignature', () => {
  const request = (authorization: string | undefined, query = ''): SignedRequest => ({
    ...{ method: 'POST', path: '/', query, body: Buffer.of() },
    headers: { authorization, 'x-amz-date': '20261127T000000Z' },
  })

  test('sees no signature where there is none', () => {
    expect(parseSignature(request(undefined))).toBeUndefined()
  })

  const head = 'AWS4-HMAC-SHA256'
  test.each([
    ['Basic abc'],
    [`${head} Credential=a/20261127/r/sqs/aws4_request`],
    [`${head} Credential=a/20261127/r/sqs, SignedHeaders=host, Signature=00`],
    [`${head} Credential=a/20261128/r/sqs/aws4_request, SignedHeaders=host, Signature=00`],
    [`${head} Credential=/20261127/r/sqs/aws4_request, SignedHeaders=host, Signature=00`],
  ])('refuses %s', (authorization) => {
    expect(() => parseSignature(request(authorization))).toThrow(SignatureError)
  })

  test('refuses half a presigned request', () => {
    const query = 'X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=60'
    expect(() => parseSignature(request(undefined, query))).toThrow(SignatureError)
  })
})
