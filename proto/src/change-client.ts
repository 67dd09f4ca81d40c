/**
 * Changes of resources over a link to the leader of the Placement Center, many on their way at once. Finds the
 * leader, and asks again where nothing was done; where that is not known, says so.
 */
import {
  type ChangeFailure,
  ChangeReply,
  ChangeRequest,
  type ResourceChange,
} from './gen/placement.ts'
import { dialLink } from './link/dial-link.ts'
import type { LinkIdentity } from './link/hello.ts'
import type { Link, LinkEvents } from './link/link.ts'

export const CHANGES_LINK = {
  name: 'robust.placement.v1.Changes',
  protocolVersion: 1,
  /** Of a request: a thousand changes of the largest size do not fit, and are not meant to. */
  frameBytesMax: 16 * 1024 * 1024,
  writesAfter: 'callback',
  requestKind: 16,
  replyKind: 17,
} as const

/** `code` as in ChangeFailure. OUTCOME_UNKNOWN: it may be done or not; everything else: nothing was done. */
export class ChangeError extends Error {
  override readonly name = 'ChangeError'
  readonly code: string
  /** Of CONFLICT. */
  readonly currentVersion: number | undefined

  constructor({
    code,
    message,
    currentVersion,
  }: Pick<ChangeFailure, 'code' | 'message'> & {
    readonly currentVersion?: number | undefined
  }) {
    super(message)
    this.code = code
    this.currentVersion = currentVersion
  }
}

export interface ChangeClientOptions {
  /** Of any members. */
  readonly addresses: readonly string[]
  /** A tool has no cluster: an empty `clusterId` goes to whichever is there. */
  readonly identity: LinkIdentity
  /** How long to look for a leader that takes a change; default 10,000. */
  readonly timeoutMs?: number
}

interface Waiting {
  readonly request: Omit<ChangeRequest, 'id'>
  readonly untilMs: number
  resolve(version: number): void
  reject(error: ChangeError): void
}

const TIMEOUT_MS = 10_000
const CONNECT_MS = 1_000
const RETRY_MS = 50

export class ChangeClient {
  readonly #options: ChangeClientOptions
  readonly #waiting = new Map<number, Waiting>()
  readonly #ending = new AbortController()
  #link: Link | undefined
  #dialling: Promise<Link> | undefined
  #leader: string | undefined
  #nextAddress = 0
  #lastId = 0

  constructor(options: ChangeClientOptions) {
    this.#options = options
  }

  /**
   * All of the changes or none. Resolves with their version when they are committed.
   * @throws ChangeError
   */
  change(changes: readonly ResourceChange[], by: string): Promise<number> {
    const untilMs = performance.now() + (this.#options.timeoutMs ?? TIMEOUT_MS)
    const request = { changes: [...changes], by }
    return new Promise((resolve, reject) => this.#send({ request, untilMs, resolve, reject }))
  }

  /** What is on its way ends with OUTCOME_UNKNOWN. */
  close(): void {
    this.#ending.abort()
    this.#link?.destroy('not needed any more')
  }

  #send(waiting: Waiting): void {
    if (this.#link !== undefined) this.#put(this.#link, waiting)
    else void this.#sendLater(waiting)
  }

  #put(link: Link, waiting: Waiting): void {
    this.#lastId += 1
    const id = this.#lastId
    this.#waiting.set(id, waiting)
    link.send(CHANGES_LINK.requestKind, ChangeRequest.encode({ ...waiting.request, id }).finish())
  }

  async #sendLater(waiting: Waiting): Promise<void> {
    try {
      this.#dialling ??= this.#dial().finally(() => {
        this.#dialling = undefined
      })
      this.#put(await this.#dialling, waiting)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.#again(waiting, new ChangeError({ code: 'NO_LEADER', message }))
    }
  }

  /** Where nothing was done. */
  #again(waiting: Waiting, error: ChangeError): void {
    const isOver = performance.now() + RETRY_MS > waiting.untilMs || this.#ending.signal.aborted
    if (isOver) waiting.reject(error)
    else setTimeout(() => this.#send(waiting), RETRY_MS)
  }

  async #dial(): Promise<Link> {
    const { addresses, identity } = this.#options
    const next = addresses[this.#nextAddress % addresses.length] as string
    const address = this.#leader ?? next
    this.#leader = undefined
    const { name: service, protocolVersion, frameBytesMax, writesAfter } = CHANGES_LINK
    const common = { service, protocolVersion, frameBytesMax, writesAfter, identity }
    const { signal } = this.#ending
    try {
      const options = { ...common, address, connectMs: CONNECT_MS, signal }
      const link = await dialLink(options, (opened) => this.#events(opened))
      this.#link = link
      return link
    } catch (error) {
      this.#nextAddress += 1
      throw error
    }
  }

  #events(link: Link): LinkEvents {
    return {
      frame: (kind, payload) => {
        if (kind === CHANGES_LINK.replyKind) this.#answered(link, ChangeReply.decode(payload))
      },
      closed: (error) => {
        this.#leave(link)
        const message = error?.message ?? 'the member ended the link'
        const waiting = [...this.#waiting.values()]
        this.#waiting.clear()
        for (const { reject } of waiting) {
          reject(new ChangeError({ code: 'OUTCOME_UNKNOWN', message }))
        }
      },
    }
  }

  #answered(link: Link, { id, version, failure }: ChangeReply): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    if (failure === undefined) {
      waiting.resolve(version)
      return
    }
    const error = new ChangeError(failure)
    if (failure.code !== 'NOT_LEADER' && failure.code !== 'NO_LEADER') waiting.reject(error)
    else {
      if (this.#link === link) {
        this.#leader = failure.leaderAddress === '' ? undefined : failure.leaderAddress
        if (this.#leader === undefined) this.#nextAddress += 1
        this.#leave(link)
      }
      this.#again(waiting, error)
    }
    // One that does not lead is left when it has answered everything.
    if (this.#link !== link && this.#waiting.size === 0) link.end()
  }

  #leave(link: Link): void {
    if (this.#link === link) this.#link = undefined
  }
}
