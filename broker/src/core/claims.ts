/**
 * Who has what only one may have: a name and the session that holds it, kept on the shard of the name. A claim
 * is as good as its holder: who wants it asks whether the holder still has it, and replaces one that has not.
 */
import type { StorageAdapter } from '@robust/storage-adapters'
import { CLAIMS, claimKey } from './sessions/session-keys.ts'
import { requireCommitted, type ShardWriter } from './shard-writer.ts'
import { decodeJson, encodeJson, scanAll } from './stored.ts'

export interface ClaimRequest {
  readonly name: string
  readonly session: string
  /** The holder that was found not to have it any more; empty: none. */
  readonly insteadOf: string
  /** Gives it up instead. */
  readonly release: boolean
}

export class ClaimShard {
  readonly #writer: ShardWriter
  readonly #storage: StorageAdapter
  readonly #holders = new Map<string, string>()

  constructor(writer: ShardWriter, storage: StorageAdapter) {
    this.#writer = writer
    this.#storage = storage
  }

  async load(): Promise<void> {
    for await (const { key, value } of scanAll(this.#storage, this.#writer.shard, CLAIMS)) {
      this.#holders.set(key.slice('claim/'.length), decodeJson<string>(value))
    }
  }

  /** Answers who holds it then; durable when it resolves. */
  async claim({ name, session, insteadOf, release }: ClaimRequest): Promise<string> {
    const holder = this.#holders.get(name)
    if (release) {
      if (holder === session) {
        this.#holders.delete(name)
        this.#writer.delete(claimKey(name))
      }
    } else if (holder === undefined || holder === insteadOf) {
      this.#holders.set(name, session)
      this.#writer.put(claimKey(name), encodeJson(session))
    }
    requireCommitted(await new Promise((resolve) => this.#writer.onCommit(resolve)))
    return this.#holders.get(name) ?? ''
  }
}
