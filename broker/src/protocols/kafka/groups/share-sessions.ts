/**
 * What members of share groups read at this broker (KIP-932): the partitions that each has named, and what it was given
 * of them. A session ends with its connection, and what it has is given to others.
 */
import type { SharePartition } from '../../../core/shares/share-partitions.ts'
import { ERROR } from '../errors.ts'
import { SHARE_SESSIONS_MAX } from '../limits.ts'
import type { StoredShareGroup } from './share-group.ts'

export interface SharedPlace {
  readonly topicId: string
  readonly index: number
}

export class ShareSession {
  readonly group: string
  readonly member: string
  readonly record: StoredShareGroup
  /** By topic and partition, in the order in which they are read next. */
  readonly places = new Map<string, SharedPlace>()
  readonly opened = new Map<string, SharePartition>()
  /** That the next request must have. */
  epoch = 1
  isClosed = false

  constructor(names: { group: string; member: string }, record: StoredShareGroup) {
    this.group = names.group
    this.member = names.member
    this.record = record
  }

  /** What it has is given to others. */
  close(): void {
    this.isClosed = true
    for (const share of this.opened.values()) share.release(this.member)
    this.opened.clear()
  }
}

interface Asking {
  readonly groupId: string
  readonly memberId: string
  readonly epoch: number
  readonly gone: AbortSignal
}

const LAST_EPOCH = 0x7fff_ffff

export class ShareSessions {
  readonly #all = new Map<string, ShareSession>()

  /** A number is an error. */
  begin(
    { groupId: group, memberId: member, gone }: Asking,
    record: StoredShareGroup,
  ): ShareSession | number {
    const key = `${group}\0${member}`
    this.#end(key, this.#all.get(key))
    if (this.#all.size >= SHARE_SESSIONS_MAX) return ERROR.SHARE_SESSION_LIMIT_REACHED
    const session = new ShareSession({ group, member }, record)
    this.#all.set(key, session)
    gone.addEventListener('abort', () => this.#end(key, session), { once: true })
    return session
  }

  /** That goes on, or is about to end. A number is an error. */
  find({ groupId, memberId, epoch }: Asking): ShareSession | number {
    const session = this.#all.get(`${groupId}\0${memberId}`)
    if (session === undefined) return ERROR.SHARE_SESSION_NOT_FOUND
    if (epoch === -1) return session
    if (epoch !== session.epoch) return ERROR.INVALID_SHARE_SESSION_EPOCH
    session.epoch = epoch === LAST_EPOCH ? 1 : epoch + 1
    return session
  }

  end(session: ShareSession): void {
    this.#end(`${session.group}\0${session.member}`, session)
  }

  #end(key: string, session: ShareSession | undefined): void {
    session?.close()
    if (this.#all.get(key) === session) this.#all.delete(key)
  }
}
