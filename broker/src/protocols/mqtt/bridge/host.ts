/** The bridges that this broker runs: those whose shard it owns, for as long as it does. */
import { Bridge, type BridgeOptions, type BridgeStatus } from './bridge.ts'
import type { BridgeDefinition } from './definition.ts'

export interface BridgeHostOptions extends BridgeOptions {
  /** All that there are, as the metadata has them now. */
  readonly definitions: () => readonly BridgeDefinition[]
  readonly isMine: (name: string) => boolean
}

export class BridgeHost {
  readonly #options: BridgeHostOptions
  readonly #bridges = new Map<string, Bridge>()
  readonly #stopping = new Map<string, Promise<void>>()
  #isOn = false

  constructor(options: BridgeHostOptions) {
    this.#options = options
  }

  start(): void {
    this.#isOn = true
    this.reconcile()
  }

  async stop(): Promise<void> {
    this.#isOn = false
    this.reconcile()
    await Promise.all(this.#stopping.values())
  }

  /** Shards or definitions have changed. */
  reconcile(): void {
    const { definitions, isMine } = this.#options
    const mine = this.#isOn ? definitions().filter(({ name }) => isMine(name)) : []
    const wanted = new Map(mine.map((definition) => [definition.name, definition]))
    for (const [name, bridge] of this.#bridges) {
      if (wanted.get(name)?.version === bridge.definition.version) continue
      this.#bridges.delete(name)
      this.#stop(name, bridge)
    }
    for (const [name, definition] of wanted) {
      // The one before has the session still; its end leads here again.
      if (this.#bridges.has(name) || this.#stopping.has(name)) continue
      this.#bridges.set(name, new Bridge(definition, this.#options))
    }
  }

  statuses(): readonly BridgeStatus[] {
    return [...this.#bridges.values()].map(({ status }) => status)
  }

  #stop(name: string, bridge: Bridge): void {
    const stopped = bridge.stop().then(() => {
      this.#stopping.delete(name)
      if (this.#isOn) this.reconcile()
    })
    this.#stopping.set(name, stopped)
  }
}
