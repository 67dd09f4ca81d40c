/**
 * Topic aliases that one client has been told, on its connection. The first topics keep theirs: what comes
 * later is sent in full, since changing aliases to and fro would cost more than it saves.
 */
export class OutgoingAliases {
  readonly #aliases = new Map<string, number>()
  readonly #max: number

  /** `max`: the highest alias that the client takes. */
  constructor(max: number) {
    this.#max = max
  }

  /** 0: the client does not know one for the topic. */
  get(topic: string): number {
    return this.#aliases.get(topic) ?? 0
  }

  /** The one that `set` will give, 0 when there is none left. */
  get free(): number {
    return this.#aliases.size < this.#max ? this.#aliases.size + 1 : 0
  }

  /** The client has been sent the topic with the free alias. */
  set(topic: string): void {
    this.#aliases.set(topic, this.free)
  }
}
