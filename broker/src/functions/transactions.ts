/**
 * Half messages: prepared, stored and invisible until their sender commits or rolls back. A sender that says nothing
 * is asked after a time, again and again, and in the end its message is rolled back.
 */
import {
  decodeRecordBatch,
  encodeRecordBatch,
  type NewRecord,
  type Operation,
} from '@robust/storage-adapters'
import { numberHeader, withHeaders } from '../core/queues/headers.ts'

export interface PreparedMessage {
  readonly transaction: string
  readonly record: NewRecord
  /** Times its sender was asked. */
  checks: number
  /** Wall clock, ms. */
  checkAtMs: number
}

export interface CheckPolicy {
  readonly afterMs: number
  readonly checksMax: number
}

export const DEFAULT_CHECK_POLICY: CheckPolicy = { afterMs: 60_000, checksMax: 15 }

const CHECKS = 'transaction-checks'
const CHECK_AT = 'transaction-check-at'

export class Transactions {
  readonly #prefix: string
  readonly #policy: CheckPolicy
  readonly #prepared = new Map<string, PreparedMessage>()

  constructor(prefix: string, policy: CheckPolicy = DEFAULT_CHECK_POLICY) {
    this.#prefix = prefix
    this.#policy = policy
  }

  get size(): number {
    return this.#prepared.size
  }

  restore(key: string, value: Uint8Array): void {
    const [record] = decodeRecordBatch(value)
    if (record === undefined) return
    const transaction = key.slice(this.#prefix.length)
    this.#prepared.set(transaction, {
      transaction,
      record,
      checks: numberHeader(record, CHECKS) ?? 0,
      checkAtMs: numberHeader(record, CHECK_AT) ?? 0,
    })
  }

  /** The same again changes nothing. */
  prepare(transaction: string, record: NewRecord, nowMs: number): Operation | undefined {
    if (this.#prepared.has(transaction)) return undefined
    const checkAtMs = nowMs + this.#policy.afterMs
    const prepared = { transaction, record, checks: 0, checkAtMs }
    this.#prepared.set(transaction, prepared)
    return this.#put(prepared)
  }

  /** The message, when it is prepared still. */
  decide(
    transaction: string,
  ): { readonly record: NewRecord; readonly operation: Operation } | undefined {
    const prepared = this.#prepared.get(transaction)
    if (prepared === undefined) return undefined
    this.#prepared.delete(transaction)
    const operation: Operation = { kind: 'delete', key: `${this.#prefix}${transaction}` }
    return { record: withHeaders(prepared.record, WITHOUT), operation }
  }

  /** Those whose senders are to be asked now, and those that were asked often enough. */
  due(nowMs: number): {
    readonly ask: readonly PreparedMessage[]
    readonly giveUp: readonly string[]
    readonly operations: readonly Operation[]
  } {
    const ask: PreparedMessage[] = []
    const giveUp: string[] = []
    const operations: Operation[] = []
    for (const prepared of this.#prepared.values()) {
      if (prepared.checkAtMs > nowMs) continue
      if (prepared.checks >= this.#policy.checksMax) {
        giveUp.push(prepared.transaction)
        continue
      }
      prepared.checks++
      prepared.checkAtMs = nowMs + this.#policy.afterMs
      ask.push(prepared)
      operations.push(this.#put(prepared))
    }
    return { ask, giveUp, operations }
  }

  #put({ transaction, record, checks, checkAtMs }: PreparedMessage): Operation {
    const noted = withHeaders(record, { [CHECKS]: String(checks), [CHECK_AT]: String(checkAtMs) })
    const value = encodeRecordBatch([noted], { baseOffset: 0, leaderEpoch: 0 })
    return { kind: 'put', key: `${this.#prefix}${transaction}`, value }
  }
}

const WITHOUT = { [CHECKS]: undefined, [CHECK_AT]: undefined }
