/**
 * Who the client of a connection is: nobody, whoever comes without a word (a certificate, or anonymous), or a user
 * by SASL, once or again before its session ends (KIP-368). It knows no socket.
 *
 *   nobody ── SaslHandshake ──► exchange ── SaslAuthenticate (as often as the mechanism wants) ──► in, or over
 *   in ── SaslHandshake of the same mechanism ──► exchange ──► in as the same user, or over
 */
import type { Clock } from '../../core/ports/clock.ts'
import type { Access } from '../../security/access.ts'
import type { Authenticator } from '../../security/authenticator.ts'
import type { Bans } from '../../security/bans.ts'
import type {
  AuthenticationExchange,
  AuthenticationMethod,
  ExchangeStep,
} from '../../security/enhanced.ts'
import type { FailedAttempts } from '../../security/failed-attempts.ts'
import { mechanismsOf } from '../../security/sasl.ts'
import type { AdmissionPort } from '../shared/admission.ts'
import type { Peer } from '../shared/listener.ts'
import type { SeldomLog } from '../shared/seldom-log.ts'
import { ERROR } from './errors.ts'

/** What decides about all clients. */
export interface Doors {
  readonly authenticator: Pick<
    Authenticator,
    'authenticate' | 'authenticateToken' | 'takesTokens' | 'method' | 'failures' | 'greet'
  >
  readonly admission: AdmissionPort
  readonly bans: Pick<Bans, 'isBanned'>
  readonly attempts: FailedAttempts
  /** After it a client must say again who it is, ms; null: never. */
  readonly reauthenticationMs: () => number | null
  readonly clock: Clock
  readonly log: Pick<SeldomLog, 'warn'>
}

export interface Visit extends Doors {
  /** As operators see the connection. */
  readonly id: string
  readonly entrance: string
  readonly peer: Pick<Peer, 'address' | 'certificateName'>
}

export interface Authenticated {
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly authBytes: Buffer
  readonly sessionLifetimeMs: number
}

type StepIn = Extract<ExchangeStep, { kind: 'in' }>

const NO_BYTES = Buffer.alloc(0)

export class ClientIdentity {
  /** Empty: nobody. */
  user = ''
  access: Access | undefined
  /** There are no users, so anybody may be anybody. */
  isUnproved = false
  /** It failed: it is told so, and the connection ends. */
  isOver = false
  readonly #visit: Visit
  #clientId = ''
  /** Wall clock, ms. */
  #until: number | undefined
  #exchange: AuthenticationExchange | undefined
  #mechanism = ''
  /** By this mechanism it has come in. */
  #cameBy = ''
  #isRaw = false

  constructor(visit: Visit) {
    this.#visit = visit
  }

  get isIn(): boolean {
    return this.user !== ''
  }

  /** What comes next is a message of the mechanism and no request, as after SaslHandshake 0. */
  get isRaw(): boolean {
    return this.#isRaw
  }

  /** It is who it is for now, and may ask for what its rights allow. */
  get isCurrent(): boolean {
    return this.isIn && (this.#until === undefined || this.#until > this.#visit.clock.wallMs())
  }

  /** By its user, its address, its connection or the name that it gives itself. */
  isBanned(clientId = this.#clientId): boolean {
    this.#clientId = clientId
    return this.#isBanned(this.isIn ? this.user : undefined)
  }

  /** Whoever may be here without a word is in. False: nobody may come in here now. */
  async greet(): Promise<boolean> {
    const { admission, authenticator, entrance, peer, id } = this.#visit
    if (admission.admit(entrance) !== undefined || this.#isBanned(undefined)) return false
    const { address: remoteAddress, certificateName } = peer
    const found = await authenticator.greet({ clientId: id, certificateName, remoteAddress })
    if (found.kind === 'in') return this.#enter({ ...found, data: undefined }) === undefined
    return true
  }

  leave(): void {
    if (this.isIn) this.#visit.admission.leave(this.user)
  }

  get mechanisms(): readonly string[] {
    return mechanismsOf(this.#visit.authenticator).map(({ name }) => name)
  }

  /** Answers an error code. */
  handshake(wanted: string, { isRaw }: { isRaw: boolean }): number {
    const method = mechanismsOf(this.#visit.authenticator).find(({ name }) => name === wanted)
    if (method === undefined) return ERROR.UNSUPPORTED_SASL_MECHANISM
    const isAgain = this.#cameBy !== ''
    if (this.#exchange !== undefined || (isAgain && (isRaw || this.#cameBy !== wanted))) {
      this.isOver = true
      return ERROR.ILLEGAL_SASL_STATE
    }
    this.#begin(method)
    this.#isRaw = isRaw
    return ERROR.NONE
  }

  #begin(method: AuthenticationMethod): void {
    const { id: clientId, peer } = this.#visit
    this.#mechanism = method.name
    this.#exchange = method.begin({ clientId, address: peer.address })
  }

  async authenticate(message: Buffer): Promise<Authenticated> {
    const exchange = this.#exchange
    if (exchange === undefined) {
      return this.#fail(ERROR.ILLEGAL_SASL_STATE, 'SaslHandshake comes first')
    }
    const step = await exchange.next(message)
    if (step.kind === 'continue') return { ...DONE, authBytes: step.data }
    this.#exchange = undefined
    this.#isRaw = false
    const reason = step.kind === 'refused' ? step.reason : this.#enter(step)
    if (step.kind === 'refused' || reason !== undefined) return this.#refuse(reason ?? '')
    this.#cameBy = this.#mechanism
    const { clock } = this.#visit
    const sessionLifetimeMs =
      this.#until === undefined ? 0 : Math.max(1, Math.floor(this.#until - clock.wallMs()))
    return { ...DONE, authBytes: step.data ?? NO_BYTES, sessionLifetimeMs }
  }

  /** Undefined: it is in. Else why it is not. */
  #enter({ user, access, until, isUnproved }: StepIn): string | undefined {
    const { admission } = this.#visit
    if (this.#cameBy !== '' && user !== this.user) return 'another user than before'
    if (this.#isBanned(user)) return 'it is banned'
    if (user !== this.user) {
      const refusal = admission.enter(user)
      if (refusal !== undefined) return refusal.reason
      this.leave()
    }
    this.user = user
    this.access = access
    this.isUnproved = isUnproved === true
    this.#until = this.#endOf(until)
    return undefined
  }

  #endOf(until: number | undefined): number | undefined {
    const { reauthenticationMs, clock } = this.#visit
    const most = reauthenticationMs()
    if (most === null) return until
    return Math.min(until ?? Number.POSITIVE_INFINITY, clock.wallMs() + most)
  }

  #isBanned(user: string | undefined): boolean {
    const { bans, id, peer } = this.#visit
    const { address } = peer
    return [id, this.#clientId].some((clientId) => bans.isBanned({ clientId, user, address }))
  }

  async #refuse(reason: string): Promise<Authenticated> {
    const { attempts, clock, log, peer } = this.#visit
    const { address: remote } = peer
    const fields = { errId: 'KAFKA_NOT_AUTHORISED', client: this.#clientId, remote, reason }
    log.warn(fields, 'a client was not let in')
    await new Promise<void>((resolve) => clock.after(attempts.failed(remote), resolve))
    const said = `authentication by ${this.#mechanism} failed: ${reason}`
    return this.#fail(ERROR.SASL_AUTHENTICATION_FAILED, said)
  }

  #fail(errorCode: number, errorMessage: string): Authenticated {
    this.isOver = true
    return { ...DONE, errorCode, errorMessage }
  }
}

const DONE: Authenticated = {
  errorCode: ERROR.NONE,
  errorMessage: null,
  authBytes: NO_BYTES,
  sessionLifetimeMs: 0,
}
