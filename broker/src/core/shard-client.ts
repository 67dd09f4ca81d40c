/**
 * Asks the owner of a shard, wherever it is, and asks again while the shard moves. Safe since every request
 * may be repeated.
 */
import { BrokerError } from './errors.ts'
import { answer, type HostedShards } from './hosted-shard.ts'
import { SHARD_RETRY_MS, SHARD_RETRY_MS_MAX, SHARD_WAIT_MS } from './limits.ts'
import type { Clock } from './ports/clock.ts'
import type { Directory } from './ports/directory.ts'
import type { Peers } from './ports/peers.ts'
import type { ShardReply, ShardRequest } from './shard-requests.ts'

export type Answered = Extract<ShardReply, { status: 'ok' }>

export interface ShardClientOptions {
  readonly directory: Directory
  readonly hosted: HostedShards
  readonly peers: Peers
  readonly clock: Clock
}

export interface Asked {
  /** `isHere`: the owner is this broker, and its answer cannot be lost on the way. */
  readonly request: (isHere: boolean) => ShardRequest
  /** How long an owner is looked for, ms. */
  readonly waitMs: number
  /** Given up: the owner is told, and nobody else is asked. */
  readonly signal?: AbortSignal | undefined
}

export class ShardClient {
  readonly #options: ShardClientOptions
  #waiting: (() => void)[] = []

  constructor(options: ShardClientOptions) {
    this.#options = options
  }

  /** Ownership has changed: requests that wait try again at once. */
  changed(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  /**
   * Rejects with BrokerError: TAKEN_OVER, REFUSED, NOT_FOUND, or UNAVAILABLE when nobody answered in time.
   */
  call(shard: number, request: ShardRequest, waitMs = SHARD_WAIT_MS): Promise<Answered> {
    return this.ask(shard, { request: () => request, waitMs })
  }

  /** As `call`, of what changes from one try to the next. */
  async ask(shard: number, asked: Asked): Promise<Answered> {
    const { clock } = this.#options
    const deadline = clock.nowMs() + asked.waitMs
    let pauseMs = SHARD_RETRY_MS
    for (;;) {
      const reply = await this.#try(shard, asked)
      if (reply?.status === 'ok') return reply
      if (reply !== undefined) refuse(reply)
      if (clock.nowMs() >= deadline || asked.signal?.aborted === true) {
        const detail = reply?.status === 'failed' ? `: ${reply.detail}` : ''
        throw new BrokerError('UNAVAILABLE', `shard ${shard} does not answer${detail}`)
      }
      await this.#pause(pauseMs)
      pauseMs = Math.min(pauseMs * 2, SHARD_RETRY_MS_MAX)
    }
  }

  #try(shard: number, { request, signal }: Asked): Promise<ShardReply | undefined> {
    const { directory, hosted, peers, clock } = this.#options
    if (hosted.get(shard) !== undefined) {
      return answer(hosted, shard, { request: request(true), clock, signal })
    }
    const owner = directory.owner(shard)
    if (owner === undefined || owner.node === directory.self) return Promise.resolve(undefined)
    return peers.request(owner.node, shard, { request: request(false), signal })
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(ms, resolve)
      this.#waiting.push(() => {
        timer.cancel()
        resolve()
      })
    })
  }
}

/** Throws what cannot be mended by asking again. */
function refuse(reply: ShardReply): void {
  switch (reply.status) {
    case 'taken-over':
      throw new BrokerError('TAKEN_OVER', 'another connection has the session')
    case 'refused':
      throw new BrokerError('REFUSED', reply.detail)
    case 'not-found':
      throw new BrokerError('NOT_FOUND', reply.detail)
    case 'ok':
    case 'failed':
    case 'not-owner':
      return
    default:
      reply satisfies never
  }
}
