/**
 * Changes of resources over links: as many at once as a caller likes, up to a bound, each answered when it is
 * committed. The same checks as of the calls, without what a call of gRPC costs.
 */
import {
  CHANGES_LINK,
  type Link,
  type LinkEvents,
  type LinkIdentity,
  type LinkService,
  placement as wire,
} from '@robust/proto'
import { PlacementError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { changeResources, type ResourceCallsOptions } from './resource-calls.ts'

export interface ChangeLinkOptions extends ResourceCallsOptions {
  readonly identity: () => LinkIdentity
  readonly log: Logger
}

/** Of one caller; it is not read while more are unanswered. */
const UNANSWERED_MAX = 4_096

export function createChangeLink(options: ChangeLinkOptions): LinkService {
  const { name, protocolVersion, frameBytesMax, writesAfter } = CHANGES_LINK
  return {
    name,
    protocolVersion,
    frameBytesMax,
    writesAfter,
    greet: options.identity,
    opened: (link) => new Caller(link, options).events,
  }
}

class Caller {
  readonly #link: Link
  readonly #options: ChangeLinkOptions
  #unanswered = 0
  #hasEnded = false

  constructor(link: Link, options: ChangeLinkOptions) {
    this.#link = link
    this.#options = options
  }

  get events(): LinkEvents {
    return {
      frame: (kind, payload) => {
        if (kind !== CHANGES_LINK.requestKind) throw new Error(`the unknown kind ${kind}`)
        this.#run(wire.ChangeRequest.decode(payload))
      },
      drained: () => this.#proceed(),
      ended: () => {
        this.#hasEnded = true
        this.#proceed()
      },
      closed: () => undefined,
    }
  }

  #run({ id, changes, by }: wire.ChangeRequest): void {
    this.#unanswered += 1
    if (this.#unanswered >= UNANSWERED_MAX) this.#link.pause()
    changeResources(this.#options, { changes, by }).then(
      ({ version }) => this.#answer({ id, version, failure: undefined }),
      (error: unknown) => this.#answer({ id, version: 0, failure: this.#failureOf(error) }),
    )
  }

  #answer(reply: wire.ChangeReply): void {
    this.#unanswered -= 1
    const hasRoom = this.#link.send(CHANGES_LINK.replyKind, wire.ChangeReply.encode(reply).finish())
    if (hasRoom) this.#proceed()
    else this.#link.pause()
  }

  #proceed(): void {
    if (this.#unanswered < UNANSWERED_MAX / 2) this.#link.resume()
    if (this.#hasEnded && this.#unanswered === 0) this.#link.end()
  }

  /** Any exception that is no operating error is a bug: logged, and answered without its details. */
  #failureOf(error: unknown): wire.ChangeFailure {
    if (error instanceof PlacementError) {
      const { code, message, leaderAddress = '', currentVersion } = error
      return { code, message, leaderAddress, currentVersion }
    }
    this.#options.log.error({ err: error }, 'a change failed')
    const message = 'the change failed; see the log'
    return { code: 'OUTCOME_UNKNOWN', message, leaderAddress: '', currentVersion: undefined }
  }
}
