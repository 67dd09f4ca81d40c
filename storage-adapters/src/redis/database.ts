/**
 * Who the data is: an id made when a prefix is first used, and the list of shards that were ever opened. A
 * shard on that list without a head has been lost; a list that is gone went with the data, and the new one
 * has another id.
 */
import { randomUUID } from 'node:crypto'
import { StorageError } from '../errors.ts'
import { identityKey } from './keys.ts'
import type { Link } from './link.ts'

const format = '1'

export class Database {
  readonly #link: Link
  readonly #key: string
  readonly #acceptDataLoss: boolean
  readonly #noted = new Set<number>()

  constructor(link: Link, options: { prefix: string; acceptDataLoss: boolean }) {
    this.#link = link
    this.#key = identityKey(options.prefix)
    this.#acceptDataLoss = options.acceptDataLoss
  }

  /** Rejects with INVALID when the data has a format of another version. */
  async check(): Promise<void> {
    const stored = await this.#field('format')
    if (stored !== undefined && stored !== format) {
      throw new StorageError('INVALID', `Storage format ${stored} is not known`)
    }
  }

  /** For a shard that has no head: the id of the data. DATA_LOSS when it had one before. */
  async incarnationFor(shard: number, hasHead: boolean): Promise<string> {
    if (hasHead) return ''
    if (await this.isNoted(shard)) {
      if (this.#acceptDataLoss) return randomUUID()
      throw new StorageError('DATA_LOSS', `Shard ${shard} has lost its head and all that it had`)
    }
    await this.#link.command('hsetnx', [this.#key, 'format', format])
    await this.#link.command('hsetnx', [this.#key, 'id', randomUUID()])
    const id = await this.#field('id')
    if (id === undefined) throw new StorageError('UNAVAILABLE', 'The id of the data is gone again')
    return id
  }

  /** Once it has a head. */
  async noteShard(shard: number): Promise<void> {
    if (this.#noted.has(shard)) return
    // Asked first: a write would be refused when memory is short, and a fence must not be.
    if (!(await this.isNoted(shard))) {
      await this.#link.command('hset', [this.#key, shardField(shard), '1'])
    }
    this.#noted.add(shard)
  }

  async isNoted(shard: number): Promise<boolean> {
    return (await this.#field(shardField(shard))) !== undefined
  }

  /** Numbers of all shards that were ever opened. */
  async shards(): Promise<number[]> {
    const fields = (await this.#link.command('hkeys', [this.#key])) as Buffer[]
    const numbers = fields.map((field) => Number(/^shard (\d+)$/.exec(field.toString())?.[1]))
    return numbers.filter((number) => !Number.isNaN(number)).sort((a, b) => a - b)
  }

  async #field(name: string): Promise<string | undefined> {
    const stored = await this.#link.command('hget', [this.#key, name])
    return Buffer.isBuffer(stored) ? stored.toString() : undefined
  }
}

function shardField(shard: number): string {
  return `shard ${shard}`
}
