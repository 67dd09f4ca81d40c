/**
 * Who the data in the directory is, and what of it is known to be lost. A loss that was found stays until
 * it is accepted: the ledger that shows it is a ring, and would forget.
 */
import { randomUUID } from 'node:crypto'
import { StorageError } from '../errors.ts'
import { sealValue, unsealValue } from '../sealed-values.ts'
import type { Engine } from './engine.ts'
import { identityKey } from './keys.ts'
import { clearLedger, type LedgerEntry, WriteLedger } from './write-ledger.ts'

interface Stored {
  readonly format: number
  readonly incarnation: string
  /** Shards that have lost writes, and what is known about it. */
  readonly damaged?: Readonly<Record<number, string>>
  /** Shards whose loss was accepted, or that were copied from elsewhere: data of their own. */
  readonly renewed?: Readonly<Record<number, string>>
}

/** Format 1 had an entry of its own for the head of each log; it is read, and becomes 2. */
const format = 2
const formatsRead: readonly number[] = [1, 2]

export class Identity {
  readonly #engine: Engine
  #stored: Stored
  /** The database was made at this opening, and is nobody's copy yet. */
  #isUnclaimed: boolean

  private constructor(engine: Engine, stored: Stored, isUnclaimed: boolean) {
    this.#engine = engine
    this.#stored = stored
    this.#isUnclaimed = isUnclaimed
  }

  /**
   * Reads who this data is, or writes it into an empty database. With `acceptDataLoss` what is lost is lost:
   * the shards that lost something are other data from then on, all of them when it may be any.
   */
  static async load(
    engine: Engine,
    { acceptDataLoss, watermark }: { acceptDataLoss: boolean; watermark: LedgerEntry | undefined },
  ): Promise<{ identity: Identity; ledger: WriteLedger }> {
    const ledger = await WriteLedger.load(engine, watermark)
    const bytes = await engine.get(identityKey)
    if (bytes === undefined) return Identity.beginAnew(engine, acceptDataLoss)
    const stored = JSON.parse(unsealValue(identityKey, bytes).toString()) as Stored
    if (!formatsRead.includes(stored.format)) {
      throw new StorageError('INVALID', `Storage format ${stored.format} is not known`)
    }
    const identity = new Identity(engine, { ...stored, format }, false)
    if (stored.format !== format) await identity.#write()
    const { damage } = ledger
    const isAny = damage !== undefined && damage.shards === undefined
    if (isAny && !acceptDataLoss) return { identity, ledger }
    if (isAny) return Identity.beginAnew(engine, true)
    const found = Array.from(damage?.shards ?? [], (shard) => [shard, damage?.text ?? ''])
    await identity.#note(Object.fromEntries(found), acceptDataLoss)
    if (acceptDataLoss && damage) await engine.batch(await clearLedger(engine), { sync: true })
    return { identity, ledger: acceptDataLoss && damage ? new WriteLedger(ledger.last) : ledger }
  }

  /** Everything that is there becomes other data; DATA_LOSS when something is, and that is not accepted. */
  static async beginAnew(
    engine: Engine,
    acceptDataLoss: boolean,
  ): Promise<{ identity: Identity; ledger: WriteLedger }> {
    const [other] = await engine.keys({ limit: 1 }).all()
    if (other && !acceptDataLoss) {
      throw new StorageError('DATA_LOSS', 'The database has data but has lost its identity')
    }
    await engine.batch(await clearLedger(engine), { sync: true })
    const stored = { format, incarnation: randomUUID() }
    const identity = new Identity(engine, stored, other === undefined)
    await identity.#write()
    return { identity, ledger: new WriteLedger(0) }
  }

  incarnationOf(shard: number): string {
    return this.#stored.renewed?.[shard] ?? this.#stored.incarnation
  }

  /** No loss is known that was not accepted. */
  get isWhole(): boolean {
    return Object.keys(this.#stored.damaged ?? {}).length === 0
  }

  damageOf(shard: number): string | undefined {
    return this.#stored.damaged?.[shard]
  }

  /** The shard is a copy of data with this incarnation. Throws INVALID when the data is older than it. */
  async adopt(shard: number, incarnation: string): Promise<void> {
    if (this.incarnationOf(shard) === incarnation) return
    if (this.#isUnclaimed) this.#stored = { ...this.#stored, incarnation }
    else {
      const renewed = { ...this.#stored.renewed, [shard]: incarnation }
      this.#stored = { ...this.#stored, renewed }
    }
    this.#isUnclaimed = false
    await this.#write()
  }

  async #note(found: Readonly<Record<number, string>>, isAccepted: boolean): Promise<void> {
    const damaged = { ...this.#stored.damaged, ...found }
    const shards = Object.keys(damaged)
    if (shards.length === 0) return
    if (isAccepted) {
      const renewed = Object.fromEntries(shards.map((shard) => [shard, randomUUID()]))
      this.#stored = {
        ...this.#stored,
        damaged: {},
        renewed: { ...this.#stored.renewed, ...renewed },
      }
    } else this.#stored = { ...this.#stored, damaged }
    await this.#write()
  }

  async #write(): Promise<void> {
    const value = sealValue(identityKey, Buffer.from(JSON.stringify(this.#stored)))
    await this.#engine.put(identityKey, value, { sync: true })
  }
}
