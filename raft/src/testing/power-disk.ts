/**
 * A disk in memory that loses power: of what was not flushed, any sectors may be there afterwards and any
 * may not; names change in order, as a journal keeps them. Writes can fail, or be torn and never answered.
 */
import type { Disk, DiskFile } from '../files/disk.ts'

const SECTOR_BYTES = 512

interface Content {
  /** As the running process sees it. */
  now: Uint8Array
  durable: Uint8Array
}

export class PowerDisk implements Disk {
  readonly #random: () => number
  /** File by name: as the process sees it, and what of the names is durable. */
  #names = new Map<string, Content>()
  readonly #durableNames = new Map<string, Content>()
  /** Changes of names that are not durable yet, in order. */
  #pendingNames: ((names: Map<string, Content>) => void)[] = []
  /** How many more flushed writes succeed; then the power goes in the middle of one. */
  writesLeft = Number.POSITIVE_INFINITY
  /** Says that it has flushed, and has not. */
  isLying = false
  #isOff = false

  constructor(random: () => number) {
    this.#random = random
  }

  get isOff(): boolean {
    return this.#isOff
  }

  /** The power comes back: what is on the disk is what was durable, and a share of the rest. */
  restart(): void {
    const kept = Math.floor(this.#random() * (this.#pendingNames.length + 1))
    for (const change of this.#pendingNames.slice(0, kept)) change(this.#durableNames)
    this.#pendingNames = []
    for (const content of new Set([...this.#names.values(), ...this.#durableNames.values()])) {
      content.durable = this.#survivors(content)
      content.now = content.durable.slice()
    }
    this.#names = new Map(this.#durableNames)
    this.#isOff = false
    this.writesLeft = Number.POSITIVE_INFINITY
  }

  /** The process dies, the machine does not. */
  killProcess(): void {
    this.#isOff = false
    this.writesLeft = Number.POSITIVE_INFINITY
  }

  /** For damage: the bytes of a file, to be changed in place. */
  bytesOf(name: string): Uint8Array {
    const content = this.#names.get(name)
    if (content === undefined) throw new Error(`there is no ${name}`)
    return content.now
  }

  get files(): string[] {
    return [...this.#names.keys()].sort()
  }

  async lock(): Promise<() => Promise<void>> {
    return async () => undefined
  }

  async names(): Promise<readonly string[]> {
    this.#check()
    return [...this.#names.keys()]
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    this.#check()
    return this.#names.get(name)?.now.slice()
  }

  async open(name: string, isSynced: boolean): Promise<DiskFile> {
    this.#check()
    let content = this.#names.get(name)
    if (content === undefined) {
      const made: Content = { now: new Uint8Array(0), durable: new Uint8Array(0) }
      content = made
      this.#change((names) => names.set(name, made))
    }
    const file = content
    return {
      write: async (bytes, at) => {
        // What is written is what lies in the buffer when the system gets to it.
        await Promise.resolve()
        this.#write(file, { bytes, at, isSynced })
        await Promise.resolve()
      },
      close: async () => undefined,
    }
  }

  async rename(from: string, to: string): Promise<void> {
    this.#check()
    this.#change((names) => {
      const content = names.get(from)
      names.delete(from)
      if (content !== undefined) names.set(to, content)
    })
  }

  async remove(name: string): Promise<void> {
    this.#check()
    this.#change((names) => names.delete(name))
  }

  async syncNames(): Promise<void> {
    this.#check()
    if (this.isLying) return
    for (const change of this.#pendingNames) change(this.#durableNames)
    this.#pendingNames = []
  }

  #check(): void {
    if (this.#isOff) throw new Error('the power is off')
  }

  #change(change: (names: Map<string, Content>) => void): void {
    change(this.#names)
    this.#pendingNames.push(change)
  }

  #write(
    file: Content,
    { bytes, at, isSynced }: { bytes: Uint8Array; at: number; isSynced: boolean },
  ): void {
    this.#check()
    file.now = spliced(file.now, bytes, at)
    if (!isSynced) return
    this.writesLeft -= 1
    if (this.writesLeft <= 0) {
      this.#isOff = true
      this.#check()
    }
    if (this.isLying) return
    // Other bytes of the file that were not flushed may be flushed with it, or not.
    const end = at + bytes.byteLength
    const grown = file.durable.byteLength < end ? grow(file.durable, end) : file.durable
    grown.set(bytes, at)
    file.durable = grown
  }

  #survivors({ now, durable }: Content): Uint8Array {
    const result = durable.slice(0, Math.max(durable.byteLength, 0))
    let whole: Uint8Array = result
    for (let at = 0; at < now.byteLength; at += SECTOR_BYTES) {
      const end = Math.min(at + SECTOR_BYTES, now.byteLength)
      const isSame = equal(now.subarray(at, end), durable.subarray(at, end))
      if (isSame || this.#random() < 0.5) continue
      if (whole.byteLength < end) whole = grow(whole, end)
      whole.set(now.subarray(at, end), at)
    }
    return whole
  }
}

function spliced(before: Uint8Array, bytes: Uint8Array, at: number): Uint8Array {
  const end = at + bytes.byteLength
  const after = before.byteLength < end ? grow(before, end) : before
  after.set(bytes, at)
  return after
}

function grow(bytes: Uint8Array, length: number): Uint8Array {
  const grown = new Uint8Array(length)
  grown.set(bytes)
  return grown
}

function equal(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0
}
