/** Values that the schemas of Kafka's APIs allow, made up. */
import {
  decode,
  type Form,
  MalformedError,
  type WireType,
} from '../protocols/kafka/codec/wire-types.ts'
import { ByteReader } from '../protocols/shared/byte-reader.ts'

/** Makes values up instead of reading them; now and then null, or a tag. */
class Inventor extends ByteReader {
  readonly #next: () => number

  constructor(seed: number) {
    super(Buffer.alloc(0))
    let state = seed
    this.#next = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state >>> 8
    }
  }

  override get remaining(): number {
    return 1_000_000
  }

  override uint8(): number {
    return this.#next() % 2
  }

  override uint16(): number {
    return this.#seldom() ? 0xffff : this.#next() % 4
  }

  override uint32(): number {
    return this.#seldom() ? 0xffff_ffff : this.#next() % 4
  }

  override varint(): number {
    return this.#seldom() ? 0 : 1 + (this.#next() % 3)
  }

  override view(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => 97 + (this.#next() % 26)))
  }

  override limit(): this {
    return this
  }

  override skip(): number {
    return 0
  }

  #seldom(): boolean {
    return this.#next() % 50 === 0
  }
}

/** The same for the same seed. Null where there may be none is tried again. */
export function invent<T>(type: WireType<T>, seed: number, form: Form): T {
  for (let attempt = 0; ; attempt++) {
    try {
      return decode(type, new Inventor(seed + attempt * 7_919), form)
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error
    }
  }
}
