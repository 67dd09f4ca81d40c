/**
 * Finds retained messages wherever they are, a page at a time: who asked for very many has the first of them at once,
 * and takes the next when it has sent these.
 */
import { BrokerError } from './errors.ts'
import { hasWildcard } from './filter-index.ts'
import type { Message } from './message.ts'
import type { Directory } from './ports/directory.ts'
import type { Answered, ShardClient } from './shard-client.ts'
import { shardOf } from './shard-hash.ts'
import type { RetainedPosition } from './shard-requests.ts'

/** False, or a promise of it: no more is wanted. */
export type TakeRetained = (messages: readonly Message[]) => Promise<boolean> | boolean

export class RetainedSearch {
  readonly #client: ShardClient
  readonly #directory: Directory

  constructor(client: ShardClient, directory: Directory) {
    this.#client = client
    this.#directory = directory
  }

  /**
   * Every message whose address the filter matches, from every shard that may have some. Pages of one broker come one
   * after the other, those of several at once. Rejects with BrokerError.
   */
  async find(filter: string, take: TakeRetained): Promise<void> {
    const { shardCount } = this.#directory
    if (!hasWildcard(filter)) {
      const shards = [shardOf('retained', filter, shardCount)]
      await this.#search({ shards, after: '' }, { filter, take })
      return
    }
    const byOwner = new Map<string, number[]>()
    for (let shard = 0; shard < shardCount; shard++) {
      const owner = this.#directory.owner(shard)?.node ?? `?${shard}`
      const shards = byOwner.get(owner)
      if (shards === undefined) byOwner.set(owner, [shard])
      else shards.push(shard)
    }
    await Promise.all(
      [...byOwner.values()].map((shards) =>
        this.#together({ shards, after: '' }, { filter, take }),
      ),
    )
  }

  /** Asks for a group of shards at once; when ownership changes under way, for what is left one by one. */
  async #together(from: RetainedPosition, wanted: Wanted): Promise<void> {
    if (from.shards.length === 1) {
      await this.#search(from, wanted)
      return
    }
    const left = await this.#search(from, wanted, 0)
    if (left === undefined) return
    for (const [index, shard] of left.shards.entries()) {
      await this.#search({ shards: [shard], after: index === 0 ? left.after : '' }, wanted)
    }
  }

  /** With `waitMs` 0 resolves with what is left when an owner is not found at once. */
  async #search(
    from: RetainedPosition,
    { filter, take }: Wanted,
    waitMs?: number,
  ): Promise<RetainedPosition | undefined> {
    let position: RetainedPosition | undefined = from
    while (position !== undefined) {
      const [first] = position.shards
      if (first === undefined) return undefined
      const request = { kind: 'retained' as const, filter, ...position }
      let reply: Answered
      try {
        reply = await this.#client.call(first, request, waitMs)
      } catch (error) {
        const isMoving = error instanceof BrokerError && error.code === 'UNAVAILABLE'
        if (waitMs === 0 && isMoving) return position
        throw error
      }
      const { retained = [] } = reply
      if (retained.length > 0 && !(await take(retained))) return undefined
      position = reply.next
    }
    return undefined
  }
}

interface Wanted {
  readonly filter: string
  readonly take: TakeRetained
}
