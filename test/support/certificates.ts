/** A certificate authority for tests, and what it vouches for. PEM files in a folder. */
import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'

x509.cryptoProvider.set(webcrypto as never)

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const DAY_MS = 86_400_000

type Keys = Awaited<ReturnType<typeof newKeys>>

function newKeys() {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
}

export interface Issued {
  readonly certificate: string
  readonly key: string
  readonly serial: string
}

export class TestAuthority {
  readonly file: string
  readonly #directory: string
  readonly #keys: Keys
  readonly #name: string
  /** Hexadecimal, with an even number of digits. */
  #serial = 1000

  private constructor(directory: string, name: string, keys: Keys) {
    this.#directory = directory
    this.#keys = keys
    this.#name = name
    this.file = join(directory, `${name}-ca.pem`)
  }

  static async create(directory: string, name: string): Promise<TestAuthority> {
    const keys = await newKeys()
    const authority = new TestAuthority(directory, name, keys)
    const own = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: '01',
      name: `CN=${name}`,
      ...validity(),
      signingAlgorithm: ALGORITHM,
      keys: keys as never,
      extensions: [new x509.BasicConstraintsExtension(true, 1, true)],
    })
    writeFileSync(authority.file, own.toString('pem'))
    return authority
  }

  /** Files `<as>.crt` and `<as>.key` for the name, which is also the common name. */
  async issue(name: string, as = name, directory = this.#directory): Promise<Issued> {
    const keys = await newKeys()
    const serial = String(this.#serial++)
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial,
      subject: `CN=${name}`,
      issuer: `CN=${this.#name}`,
      ...validity(),
      signingAlgorithm: ALGORITHM,
      publicKey: keys.publicKey as never,
      signingKey: this.#keys.privateKey as never,
      extensions: [
        new x509.SubjectAlternativeNameExtension([
          { type: 'dns', value: name },
          { type: 'ip', value: '127.0.0.1' },
        ]),
      ],
    })
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
    const body = pkcs8.toString('base64').replaceAll(/.{64}/g, '$&\n')
    const files = { certificate: join(directory, `${as}.crt`), key: join(directory, `${as}.key`) }
    writeFileSync(files.key, `-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----\n`)
    writeFileSync(files.certificate, certificate.toString('pem'))
    return { ...files, serial }
  }
}

function validity() {
  return {
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + 30 * DAY_MS),
  }
}
