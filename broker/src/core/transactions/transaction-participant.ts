/**
 * What is on a shard and takes part in transactions: logs, and the offsets that groups commit with them. Those are kept
 * apart until the transaction is committed, by its number, so that a decision that comes late finds nothing.
 */
import { prefixEnd, type StorageAdapter } from '@robust/storage-adapters'
import type { LogShard } from '../logs/log-shard.ts'
import { requireCommitted, type ShardWriter } from '../shard-writer.ts'
import { decodeJson, encodeJson, type KeyRange, scanAll } from '../stored.ts'
import { type CommittedOffset, committedKey } from '../topics/committed-key.ts'
import type { TransactionEnd } from './transaction-requests.ts'
import { Verifications } from './verifications.ts'

export interface TransactionParticipantOptions {
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly logs: LogShard
}

/** A transaction, as those who take part know it. */
export interface TransactionNumber {
  readonly producerId: number
  readonly sequence: number
}

export class TransactionParticipant {
  readonly verifications = new Verifications()
  readonly #options: TransactionParticipantOptions
  /** Of a group: transactions that have committed offsets of it. */
  readonly #revisions = new Map<string, number>()

  constructor(options: TransactionParticipantOptions) {
    this.#options = options
  }

  /** Resolves when it is durable. Rejects with a StorageError, and BrokerError UNAVAILABLE when the shard is lost. */
  async end(end: TransactionEnd): Promise<void> {
    const { logs } = this.#options
    const { producerId, epoch, commit, sequence, coordinatorEpoch, groups } = end
    const marker = { producerId, epoch, commit, sequence, coordinatorEpoch }
    if (groups.length > 0) this.verifications.end(producerId)
    await Promise.all(end.logs.map((log) => logs.mark(log, marker)))
    // What was staged before may be told of by its transaction only when it is found.
    if (groups.length > 0) await this.#durable()
    for (const group of groups) await this.#endOffsets(group, end)
    await this.#durable()
    for (const group of groups) this.#revisions.set(group, this.revisionOf(group) + 1)
  }

  /** Changes when transactions have changed what is committed. */
  revisionOf(group: string): number {
    return this.#revisions.get(group) ?? 0
  }

  /** Resolves when they are durable. False: the shard is lost, the outcome unknown. */
  keepOffsets(
    group: string,
    transaction: TransactionNumber,
    offsets: readonly CommittedOffset[],
  ): Promise<boolean> {
    const { writer } = this.#options
    for (const offset of offsets) {
      writer.put(pendingKey(group, transaction, offset), encodeJson(offset))
    }
    return new Promise((resolve) => {
      writer.onCommit((outcome) => resolve(outcome === 'committed'))
    })
  }

  /** What transactions that go on will commit. Rejects with a StorageError. */
  async pendingOffsets(group: string): Promise<CommittedOffset[]> {
    return (await this.#scan(rangeOf(groupPrefix(group)))).map(({ offset }) => offset)
  }

  async #endOffsets(
    group: string,
    { producerId, sequence, commit }: TransactionEnd,
  ): Promise<void> {
    const { writer } = this.#options
    const range = rangeOf(pendingPrefix(group, { producerId, sequence }))
    const found = await this.#scan(range)
    if (found.length === 0) return
    writer.transact(() => {
      for (const { key, offset } of found) {
        if (commit) writer.put(committedKey(group, offset), encodeJson(offset))
        writer.delete(key)
      }
    })
  }

  async #durable(): Promise<void> {
    requireCommitted(await new Promise((resolve) => this.#options.writer.onCommit(resolve)))
  }

  async #scan(range: KeyRange): Promise<{ key: string; offset: CommittedOffset }[]> {
    const { storage, writer } = this.#options
    const found: { key: string; offset: CommittedOffset }[] = []
    for await (const { key, value } of scanAll(storage, writer.shard, range)) {
      found.push({ key, offset: decodeJson<CommittedOffset>(value) })
    }
    return found
  }
}

/** NUL is in no group's name. Never change these: stored data is found by them. */
function groupPrefix(group: string): string {
  return `pending-offsets\0${group}\0`
}

function pendingPrefix(group: string, { producerId, sequence }: TransactionNumber): string {
  return `${groupPrefix(group)}${producerId}\0${sequence}\0`
}

function pendingKey(
  group: string,
  transaction: TransactionNumber,
  { topicId, partition }: CommittedOffset,
): string {
  return `${pendingPrefix(group, transaction)}${topicId}\0${partition}`
}

function rangeOf(prefix: string): KeyRange {
  return { from: prefix, to: prefixEnd(prefix) }
}
