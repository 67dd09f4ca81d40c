/**
 * What clients fetch again and again, so that they need not say it, nor be told of partitions of which there is nothing
 * new (KIP-227). In memory of one broker, and bounded: a client whose session has gone begins another. No I/O.
 */
import type { ServedPartition } from '../../core/topics/topic-logs.ts'
import type { RequestOf } from './codec/api.ts'
import type { FETCH } from './codec/log-apis.ts'
import { ERROR } from './errors.ts'
import { FETCH_SESSION_PARTITIONS_MAX, FETCH_SESSIONS_MAX } from './limits.ts'

type Request = RequestOf<typeof FETCH>
export type AskedPartition = Request['topics'][number]['partitions'][number]

/** A partition that is fetched, named as the client names it. */
export interface Wanted {
  readonly name: string
  readonly topicId: string
  asked: AskedPartition
  /** As it was found last. */
  served: ServedPartition | undefined
  /** Of the topic, once it is found. */
  topicName: string
  /** What the client was told last; undefined: nothing yet. */
  told: PartitionEnds | undefined
}

export interface PartitionEnds {
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly logStartOffset: number
}

interface Session {
  readonly id: number
  readonly usesIds: boolean
  /** Of the next request. */
  epoch: number
  readonly partitions: Map<string, Wanted>
}

export type Opened =
  | { readonly errorCode: number }
  | {
      /** 0: none. */
      readonly sessionId: number
      readonly wanted: readonly Wanted[]
      /** Only what is new need be told. */
      readonly isIncremental: boolean
      /** Was told of: others come first the next time. */
      readonly toldOf: (wanted: Wanted) => void
    }

/** The epoch of a request that begins a session, and of one that wants none. */
const INITIAL = 0
const FINAL = -1
const INT32_MAX = 0x7fff_ffff

export class FetchSessions {
  /** The longest unused one first. */
  readonly #sessions = new Map<number, Session>()
  readonly #newId: () => number
  #partitions = 0

  /** `newId`: of 31 bits, not to be guessed. */
  constructor(newId: () => number) {
    this.#newId = newId
  }

  open(request: Request, usesIds: boolean): Opened {
    const { sessionId, sessionEpoch } = request
    const isFull = sessionEpoch === FINAL || sessionEpoch === INITIAL
    if (isFull) {
      this.#close(this.#sessions.get(sessionId))
      const wanted = wantedOf(request)
      if (sessionEpoch === FINAL) return alone([...wanted.values()])
      return this.#begin(wanted, usesIds)
    }
    const session = this.#sessions.get(sessionId)
    if (session === undefined) return { errorCode: ERROR.FETCH_SESSION_ID_NOT_FOUND }
    if (session.usesIds !== usesIds) return { errorCode: ERROR.FETCH_SESSION_TOPIC_ID_ERROR }
    if (sessionEpoch !== session.epoch) return { errorCode: ERROR.INVALID_FETCH_SESSION_EPOCH }
    session.epoch = sessionEpoch === INT32_MAX ? 1 : sessionEpoch + 1
    this.#sessions.delete(session.id)
    this.#sessions.set(session.id, session)
    this.#change(session, request)
    return opened(session, true)
  }

  #begin(partitions: Map<string, Wanted>, usesIds: boolean): Opened {
    if (partitions.size > FETCH_SESSION_PARTITIONS_MAX) return alone([...partitions.values()])
    let id = this.#newId()
    while (id === 0 || this.#sessions.has(id)) id = this.#newId()
    const session = { id, usesIds, epoch: 1, partitions }
    this.#sessions.set(id, session)
    this.#partitions += partitions.size
    this.#makeRoom(session)
    return opened(session, false)
  }

  #change({ partitions, ...session }: Session, request: Request): void {
    this.#partitions -= partitions.size
    for (const { name, topicId, partitions: indexes } of request.forgottenTopics) {
      for (const index of indexes) partitions.delete(keyOf(name || topicId, index))
    }
    for (const [key, wanted] of wantedOf(request)) {
      const known = partitions.get(key)
      if (known === undefined) partitions.set(key, wanted)
      else known.asked = wanted.asked
    }
    this.#partitions += partitions.size
    this.#makeRoom({ ...session, partitions })
  }

  #makeRoom({ id }: Session): void {
    for (const oldest of this.#sessions.values()) {
      const isMuch =
        this.#sessions.size > FETCH_SESSIONS_MAX || this.#partitions > FETCH_SESSION_PARTITIONS_MAX
      if (!isMuch || oldest.id === id) return
      this.#close(oldest)
    }
  }

  #close(session: Session | undefined): void {
    if (session === undefined) return
    this.#sessions.delete(session.id)
    this.#partitions -= session.partitions.size
  }
}

function opened({ id, partitions }: Session, isIncremental: boolean): Opened {
  return {
    sessionId: id,
    wanted: [...partitions.values()],
    isIncremental,
    toldOf: (wanted) => {
      const key = keyOf(wanted.name || wanted.topicId, wanted.asked.index)
      partitions.delete(key)
      partitions.set(key, wanted)
    },
  }
}

function alone(wanted: readonly Wanted[]): Opened {
  return { sessionId: 0, wanted, isIncremental: false, toldOf: () => undefined }
}

function wantedOf({ topics }: Request): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>()
  for (const { name, topicId, partitions } of topics) {
    for (const asked of partitions) {
      const one = { name, topicId, asked, served: undefined, topicName: name, told: undefined }
      wanted.set(keyOf(name || topicId, asked.index), one)
    }
  }
  return wanted
}

/** NUL is in no topic's name. */
function keyOf(topic: string, index: number): string {
  return `${topic}\0${index}`
}
