/** The client's side of SCRAM, written apart from the server's. */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'

export class ScramClient {
  readonly #user: string
  readonly #password: string
  readonly #nonce: string
  #all = ''
  #salted = Buffer.alloc(0)

  readonly #digest: 'sha256' | 'sha512'

  constructor(
    user: string,
    password: string,
    { nonce = 'fyko+d2lbbFgONRv9qkxdawL', digest = 'sha256' as 'sha256' | 'sha512' } = {},
  ) {
    this.#digest = digest
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

  /** `repeats`: as librdkafka before 2.6 does. */
  final(challenge: Buffer, { repeats = false } = {}): Buffer {
    const fields = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(challenge.toString())
    const [, nonce = '', salt = '', count = '0'] = fields ?? []
    this.#salted = pbkdf2Sync(
      this.#password,
      Buffer.from(salt, 'base64'),
      Number(count),
      this.#digest === 'sha256' ? 32 : 64,
      this.#digest,
    )
    const clientKey = this.#sign(this.#salted, 'Client Key')
    const storedKey = createHash(this.#digest).update(clientKey).digest()
    const withoutProof = `c=biws,r=${repeats ? this.#nonce : ''}${nonce}`
    this.#all = `${this.#bare},${challenge},${withoutProof}`
    const signature = this.#sign(storedKey, this.#all)
    const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] ?? 0)))
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`)
  }

  /** Whether the server knows the password too. */
  trusts(answer: Buffer | undefined): boolean {
    const signature = this.#sign(this.#sign(this.#salted, 'Server Key'), this.#all)
    return answer?.toString() === `v=${signature.toString('base64')}`
  }

  #sign(key: Buffer, text: string): Buffer {
    return createHmac(this.#digest, key).update(text).digest()
  }
}
