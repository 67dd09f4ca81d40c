/**
 * Queues as a dialect sees them: what there is, and what can be asked of one, whichever broker owns it. What a queue
 * does is in `functions/`.
 */
import type { QueuePolicy } from './queue-policy.ts'
import type { QueueReply, QueueRequest } from './queue-requests.ts'

export interface KnownQueue {
  readonly tenant: string
  readonly name: string
  /** Of its creation: a queue of the same name that was made later has another one. */
  readonly id: number
  /** Grows with each change of its definition. */
  readonly version: number
  readonly policy: QueuePolicy
  /** Filters; what is published to an address that one of them matches is put into the queue. */
  readonly bindings: readonly string[]
  /** What each dialect keeps with a queue for itself, by dialect and name: never looked into by others. */
  readonly dialects: Readonly<Record<string, Readonly<Record<string, string>>>>
}

/** What is left out stays, or is the usual for a new queue. `dialects` replaces all of the dialects that it names. */
export interface QueueChange {
  readonly policy?: Partial<QueuePolicy>
  readonly bindings?: readonly string[]
  readonly dialects?: Readonly<Record<string, Readonly<Record<string, string>>>>
}

export interface AskOptions {
  /** A tenant other than `default`. */
  readonly tenant?: string
  /** How long an owner is looked for while the shard moves, ms, above what the request itself waits. */
  readonly waitMs?: number
  /** Given up: a receive that waits ends without messages. */
  readonly signal?: AbortSignal
}

export interface Queues {
  get(name: string, tenant?: string): KnownQueue | undefined
  /** In the order of their names. */
  list(tenant?: string): readonly KnownQueue[]
  /**
   * Resolves when the queue is known to this broker and can be used at every broker. `existed`: there was one of this
   * name, which is as it was. Rejects with BrokerError: REFUSED, UNAVAILABLE.
   */
  create(
    name: string,
    change: QueueChange,
    tenant?: string,
  ): Promise<{ readonly queue: KnownQueue; readonly existed: boolean }>
  /** By compare-and-set with the version known here, tried again when it lost. Rejects with BrokerError: NOT_FOUND, REFUSED, UNAVAILABLE. */
  change(
    name: string,
    change: (queue: KnownQueue) => QueueChange,
    tenant?: string,
  ): Promise<KnownQueue>
  /** False: there is none. */
  delete(name: string, tenant?: string): Promise<boolean>
  /** Rejects with BrokerError: NOT_FOUND, REFUSED, UNAVAILABLE (the outcome is unknown then). */
  ask(name: string, request: QueueRequest, options?: AskOptions): Promise<QueueReply>
}
