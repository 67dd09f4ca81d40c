/** The client's side of SCRAM-SHA-256, written apart from the server's. */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'

export class ScramClient {
  readonly #user: string
  readonly #password: string
  readonly #nonce: string
  #all = ''
  #salted = Buffer.alloc(0)

  constructor(user: string, password: string, nonce = 'fyko+d2lbbFgONRv9qkxdawL') {
    this.#user = user
    this.#password = password
    this.#nonce = nonce
  }

  get #bare(): string {
    return `n=${this.#user},r=${this.#nonce}`
  }

  first(): Buffer {
    return Buffer.from(`n,,${this.#bare}`)
  }

  final(challenge: Buffer): Buffer {
    const fields = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(challenge.toString())
    const [, nonce = '', salt = '', count = '0'] = fields ?? []
    this.#salted = pbkdf2Sync(
      this.#password,
      Buffer.from(salt, 'base64'),
      Number(count),
      32,
      'sha256',
    )
    const clientKey = sign(this.#salted, 'Client Key')
    const storedKey = createHash('sha256').update(clientKey).digest()
    const withoutProof = `c=biws,r=${nonce}`
    this.#all = `${this.#bare},${challenge},${withoutProof}`
    const signature = sign(storedKey, this.#all)
    const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] ?? 0)))
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`)
  }

  /** Whether the server knows the password too. */
  trusts(answer: Buffer | undefined): boolean {
    const signature = sign(sign(this.#salted, 'Server Key'), this.#all)
    return answer?.toString() === `v=${signature.toString('base64')}`
  }
}

function sign(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
