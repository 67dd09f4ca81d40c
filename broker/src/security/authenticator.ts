/**
 * Who a client is, by the users in the metadata: a password, or a client certificate that was verified. While
 * there is no user, everybody on the loopback interface may do everything.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { KnownResource, Resources } from '../core/ports/resources.ts'
import { NamedCounts } from '../core/ports/telemetry.ts'
import { Access, type Rule } from './access.ts'
import type { Backend, BackendAnswer } from './backends/backend.ts'
import type { AuthenticationMethod, ClientPlace } from './enhanced.ts'
import { isPassword } from './password-hash.ts'
import {
  parseScramVerifier,
  SCRAM_FIELDS,
  SCRAM_NAMES,
  ScramMethod,
  type ScramName,
  type ScramVerifier,
} from './scram.ts'

export type Anonymous = 'loopback' | 'always' | 'never'

export interface Credentials {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Uint8Array | undefined
  /** Of a verified client certificate. */
  readonly certificateName: string | undefined
  readonly remoteAddress: string
}

/** What is known of a client before it says anything. */
export type Greeting = Pick<Credentials, 'clientId' | 'certificateName' | 'remoteAddress'>

/** `access` undefined: everything is allowed. */
export type Authenticated =
  | {
      readonly kind: 'in'
      readonly user: string
      readonly access: Access | undefined
      /** The client only says so: there are no users. */
      readonly isUnproved?: boolean
      /** Wall clock, ms: it must not stay for longer. */
      readonly until?: number | undefined
    }
  /** `unavailable`: who could know the client cannot be asked. */
  | { readonly kind: 'bad-credentials' | 'not-authorised' | 'unavailable' }

export interface AuthenticatorOptions {
  readonly resources: Resources
  readonly anonymous: () => Anonymous
  /** Besides SCRAM. */
  readonly methods?: readonly AuthenticationMethod[]
  /** Asked in their order about clients that are no users of the metadata. */
  readonly backends?: () => readonly Backend[]
  readonly onBackendError?: (backend: string, error: Error) => void
}

/** The user that a client without a name is, once there are users. */
export const ANONYMOUS = 'anonymous'

interface User {
  readonly version: number
  readonly password: string | undefined
  /** A user has those that could be made of the password when it was set. */
  readonly scram: ReadonlyMap<ScramName, ScramVerifier>
  readonly isAdmin: boolean
  readonly disabled: boolean
}

/** Passwords that were found right, so that a client which comes again need not be checked at length. */
const VERIFIED_MAX = 10_000

type AnswerIn = Extract<BackendAnswer, { kind: 'in' }>

const NO_RULES: readonly Rule[] = []

export class Authenticator {
  readonly #options: AuthenticatorOptions
  readonly #users = new Map<string, User>()
  #rules = new Map<string, readonly Rule[]>()
  /** Of each user with rules, those of everybody included. */
  readonly #merged = new Map<string, readonly Rule[]>()
  readonly #verified = new Map<string, Buffer>()
  /** Of this process only. */
  readonly #secret = randomBytes(32)
  readonly #revoked = new Set<(user: string) => void>()
  readonly #changed = new Set<() => void>()

  readonly #methods = new Map<string, AuthenticationMethod>()
  /** Since the process began, by what was wrong. */
  readonly failures = new NamedCounts()

  constructor(options: AuthenticatorOptions) {
    this.#options = options
    const { resources, methods = [] } = options
    for (const method of [...this.#scram(), ...methods]) this.#methods.set(method.name, method)
    for (const resource of resources.list('user')) this.#users.set(resource.name, userOf(resource))
    resources.observe('user', ({ name }, now) => this.#userChanged(name, now))
    this.#readRules()
    resources.observe('permission', () => {
      this.#readRules()
      for (const listener of this.#changed) listener()
    })
  }

  /** `listener` is told when what users may do has changed. */
  onRules(listener: () => void): void {
    this.#changed.add(listener)
  }

  /** `listener` is told of users whose clients must not stay connected. */
  onRevoked(listener: (user: string) => void): void {
    this.#revoked.add(listener)
  }

  /** Undefined: there is none of that name. */
  method(name: string): AuthenticationMethod | undefined {
    return this.#methods.get(name)
  }

  #scram(): AuthenticationMethod[] {
    const users = {
      verifierOf: (name: string, method: ScramName) => {
        const user = this.#users.get(name)
        return user?.disabled === false ? user.scram.get(method) : undefined
      },
      accessOf: (name: string, client: ClientPlace) => this.#accessOf(name, client),
    }
    return SCRAM_NAMES.map((name) => new ScramMethod(name, users))
  }

  #accessOf(name: string, client: ClientPlace): Access | undefined {
    const isAdmin = this.#users.get(name)?.isAdmin === true
    return isAdmin ? undefined : new Access(name, client, (user) => this.#rulesOf(user))
  }

  /** There is nobody yet to be told from others. */
  get isOpen(): boolean {
    return this.#users.size === 0 && (this.#options.backends?.().length ?? 0) === 0
  }

  /** There is nobody yet to be told from others, and the client may come in as nobody. */
  isOpenTo(remoteAddress: string): boolean {
    return this.isOpen && this.#letsAnonymous(remoteAddress)
  }

  /** A user that has proved in another way who it is. */
  admit(name: string, address: string): Authenticated {
    const user = this.#users.get(name)
    if (user === undefined || user.disabled) return { kind: 'bad-credentials' }
    return this.#in(name, { clientId: '', address })
  }

  /** Who a client is that has said nothing yet, and may do so later: that it is nobody is no failure. */
  greet({ clientId, ...rest }: Greeting): Promise<Authenticated> {
    return this.#authenticate({ clientId, username: undefined, password: undefined, ...rest })
  }

  /** Whether tokens can be checked here. */
  get takesTokens(): boolean {
    return this.#tokens !== undefined
  }

  get #tokens(): Backend | undefined {
    return this.#options.backends?.().find(({ name }) => name === 'jwt')
  }

  /** By a signed token alone, which must say how long it is good. */
  async authenticateToken(token: Buffer, client: ClientPlace): Promise<Authenticated> {
    const found = await this.#byToken(token, client)
    if (found.kind !== 'in') this.failures.add(found.kind)
    return found
  }

  async #byToken(token: Buffer, { clientId, address }: ClientPlace): Promise<Authenticated> {
    const backend = this.#tokens
    if (backend === undefined) return { kind: 'unavailable' }
    const who = { clientId, remoteAddress: address, certificateName: undefined }
    const given = { ...who, username: undefined, password: token }
    const found = await this.#ask([backend], given)
    if (found?.kind !== 'in') return found ?? { kind: 'bad-credentials' }
    const isDisabled = this.#users.get(found.user)?.disabled === true
    return found.until === undefined || isDisabled ? { kind: 'bad-credentials' } : found
  }

  async authenticate(credentials: Credentials): Promise<Authenticated> {
    const found = await this.#authenticate(credentials)
    if (found.kind !== 'in') this.failures.add(found.kind)
    return found
  }

  async #authenticate(credentials: Credentials): Promise<Authenticated> {
    const { username, password, certificateName } = credentials
    const client = { clientId: credentials.clientId, address: credentials.remoteAddress }
    if (username === undefined && certificateName !== undefined) {
      const user = this.#users.get(certificateName)
      if (user !== undefined && !user.disabled) return this.#in(certificateName, client)
    }
    const backends = this.#options.backends?.() ?? []
    const isForeign = username === undefined || !this.#users.has(username)
    if (backends.length > 0 && isForeign) {
      const found = await this.#ask(backends, credentials)
      if (found !== undefined) return found
    }
    if (this.#users.size === 0 && backends.length === 0) {
      return this.#letsAnonymous(credentials.remoteAddress)
        ? { kind: 'in', user: username ?? ANONYMOUS, access: undefined, isUnproved: true }
        : { kind: 'not-authorised' }
    }
    if (username === undefined) return this.#anonymously(client)
    const user = this.#users.get(username)
    const known = user?.password
    if (user === undefined || user.disabled || known === undefined || password === undefined) {
      return { kind: 'bad-credentials' }
    }
    const given = Buffer.from(password).toString('utf8')
    if (!(await this.#isRight(username, given, known))) return { kind: 'bad-credentials' }
    return this.#in(username, client)
  }

  /** Undefined: none of them knows the client. */
  async #ask(
    backends: readonly Backend[],
    credentials: Credentials,
  ): Promise<Authenticated | undefined> {
    for (const backend of backends) {
      try {
        const answer = await backend.check(credentials)
        if (answer.kind === 'bad-credentials') return answer
        const { clientId, remoteAddress: address } = credentials
        if (answer.kind === 'in') return this.#foreign(answer, { clientId, address })
      } catch (error) {
        // The next one must not let in who this one would have kept out.
        this.#options.onBackendError?.(backend.name, error as Error)
        return { kind: 'unavailable' }
      }
    }
    return undefined
  }

  /** A user of a back end has its rules, and those that the metadata has for its name. */
  #foreign({ user, isAdmin, rules, until }: AnswerIn, client: ClientPlace): Authenticated {
    if (isAdmin) return { kind: 'in', user, access: undefined, until }
    let base: readonly Rule[] | undefined
    let all: readonly Rule[] = rules
    const rulesNow = (name: string): readonly Rule[] => {
      const now = this.#rulesOf(name)
      if (now !== base) {
        base = now
        all = [...rules, ...now]
      }
      return all
    }
    return { kind: 'in', user, access: new Access(user, client, rulesNow), until }
  }

  stop(): void {
    for (const backend of this.#options.backends?.() ?? []) backend.stop()
  }

  #letsAnonymous(remoteAddress: string): boolean {
    const anonymous = this.#options.anonymous()
    if (anonymous === 'loopback') return isLoopback(remoteAddress)
    return anonymous === 'always'
  }

  #anonymously(client: ClientPlace): Authenticated {
    if (this.#options.anonymous() !== 'always') return { kind: 'not-authorised' }
    const access = new Access(ANONYMOUS, client, (user) => this.#rulesOf(user))
    return { kind: 'in', user: ANONYMOUS, access }
  }

  #in(name: string, client: ClientPlace): Authenticated {
    return { kind: 'in', user: name, access: this.#accessOf(name, client) }
  }

  async #isRight(name: string, password: string, stored: string): Promise<boolean> {
    const proof = createHmac('sha256', this.#secret).update(`${stored}\0${password}`).digest()
    const verified = this.#verified.get(name)
    if (verified !== undefined && timingSafeEqual(verified, proof)) return true
    if (!(await isPassword(password, stored))) return false
    if (this.#verified.size >= VERIFIED_MAX) this.#verified.clear()
    this.#verified.set(name, proof)
    return true
  }

  #userChanged(name: string, now: KnownResource | undefined): void {
    const before = this.#users.get(name)
    const wasOpen = this.#users.size === 0
    this.#verified.delete(name)
    if (now === undefined) this.#users.delete(name)
    else this.#users.set(name, userOf(now))
    const after = this.#users.get(name)
    const stays =
      after !== undefined &&
      !after.disabled &&
      after.password === before?.password &&
      after.isAdmin === before?.isAdmin
    if (before !== undefined && !stays) this.#revoke(name)
    // The first user ends the time in which everybody was let in.
    if (wasOpen && this.#users.size > 0) this.#revoke(ANONYMOUS)
  }

  #revoke(user: string): void {
    for (const listener of this.#revoked) listener(user)
  }

  #rulesOf(user: string): readonly Rule[] {
    let rules = this.#merged.get(user)
    if (rules === undefined) {
      rules = [...(this.#rules.get(user) ?? NO_RULES), ...(this.#rules.get('*') ?? NO_RULES)]
      this.#merged.set(user, rules)
    }
    return rules
  }

  #readRules(): void {
    const rules = new Map<string, Rule[]>()
    for (const { value } of this.#options.resources.list('permission')) {
      const { user, ...rule } = parse(value)
      if (typeof user !== 'string' || !isRule(rule)) continue
      const mine = rules.get(user) ?? []
      mine.push(rule)
      rules.set(user, mine)
    }
    this.#rules = rules
    this.#merged.clear()
  }
}

function userOf({ version, value }: KnownResource): User {
  const { credentials, tags, disabled } = parse(value)
  const known = (credentials ?? {}) as Record<string, unknown>
  const { password } = known
  const scram = SCRAM_NAMES.flatMap((name) => {
    const stored = known[SCRAM_FIELDS[name]]
    const verifier = typeof stored === 'string' ? parseScramVerifier(stored, name) : undefined
    return verifier === undefined ? [] : [[name, verifier] as const]
  })
  return {
    version,
    password: typeof password === 'string' ? password : undefined,
    scram: new Map(scram),
    isAdmin: Array.isArray(tags) && tags.includes('admin'),
    disabled: disabled === true,
  }
}

/** The Placement Center has checked it; one that does not say otherwise allows. */
function isRule(rule: Record<string, unknown>): rule is Record<string, unknown> & Rule {
  rule['allow'] ??= true
  return typeof rule['action'] === 'string' && typeof rule['pattern'] === 'string'
}

function parse(json: string): Record<string, unknown> {
  try {
    return JSON.parse(json) as Record<string, unknown>
  } catch {
    return {}
  }
}

export function isLoopback(address: string): boolean {
  return address === 'unix' || address === '::1' || /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(address)
}
