/** The groups that are coordinated here: those whose shard is owned here. */
import { BrokerError } from '../../../core/errors.ts'
import type { Timer } from '../../../core/ports/clock.ts'
import type { CommittedOffsets, OffsetsHome } from '../../../core/topics/committed-offsets.ts'
import { ERROR } from '../errors.ts'
import { GROUPS_MAX, OFFSETS_CHECK_MS } from '../limits.ts'
import {
  CoordinatedGroup,
  type CoordinatedGroupOptions,
  type StoredState,
} from './coordinated-group.ts'
import type { StoredShareGroup } from './share-group.ts'

export interface CoordinatorOptions extends CoordinatedGroupOptions {
  readonly offsets: CommittedOffsets
}

interface Known {
  readonly home: OffsetsHome
  /** Rejects with BrokerError UNAVAILABLE. */
  readonly loaded: Promise<CoordinatedGroup | undefined>
  /** When it is loaded. */
  group: CoordinatedGroup | undefined
}

export class Coordinator {
  readonly #options: CoordinatorOptions
  readonly #groups = new Map<string, Known>()
  #timer: Timer | undefined

  constructor(options: CoordinatorOptions) {
    this.#options = options
  }

  /** Looks for offsets that are too old, now and then, until it is stopped. */
  start(): void {
    this.#timer = this.#options.clock.after(OFFSETS_CHECK_MS, () => {
      this.start()
      void this.expire()
    })
  }

  stop(): void {
    this.#timer?.cancel()
  }

  newMemberId(groupInstanceId: string | null): string {
    return this.#options.newMemberId(groupInstanceId)
  }

  /** The broker that coordinates the group; undefined: none does now. */
  nodeOf(group: string): string | undefined {
    return this.#options.offsets.owner(group)?.node
  }

  /** Undefined: it is coordinated elsewhere. Rejects with BrokerError UNAVAILABLE. */
  find(name: string): Promise<CoordinatedGroup | undefined> {
    const known = this.#groups.get(name)
    if (known?.home.isServed === true) return known.loaded
    if (known !== undefined) this.#leave(name, known)
    const home = this.#options.offsets.home(name)
    if (home === undefined) return Promise.resolve(undefined)
    if (this.#groups.size >= GROUPS_MAX) this.#dropIdle()
    return this.#load(name, home)
  }

  /** What is stored of a share group, whoever coordinates it; undefined: there is none. Rejects with BrokerError UNAVAILABLE. */
  async shareRecordOf(name: string): Promise<StoredShareGroup | undefined> {
    const stored = (await this.#options.offsets.stateOf(name)) as StoredState | undefined
    return stored?.group.kind === 'share' ? stored.group : undefined
  }

  /** All that is coordinated here. Rejects with BrokerError UNAVAILABLE. */
  async all(): Promise<readonly (readonly [name: string, group: CoordinatedGroup])[]> {
    const names = new Set([...this.#groups.keys(), ...(await this.#options.offsets.names())])
    const found: [string, CoordinatedGroup][] = []
    for (const name of names) {
      const group = await this.find(name)
      if (group?.isKnown === true) found.push([name, group])
    }
    return found
  }

  /** With all that it has committed. It must be empty. False: the shard is lost, the outcome unknown. */
  delete(name: string, group: CoordinatedGroup): Promise<boolean> {
    this.#groups.delete(name)
    return group.delete()
  }

  /** Shards have come or gone: those who wait at a group that is not coordinated here any more are told. */
  ownersChanged(): void {
    for (const [name, known] of this.#groups) if (!known.home.isServed) this.#leave(name, known)
  }

  /** What cannot be read now is looked at the next time. */
  async expire(): Promise<void> {
    try {
      for (const [name, group] of await this.all()) {
        await group.expire()
        if (!group.isKnown) this.#groups.delete(name)
      }
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
    }
  }

  async #load(name: string, home: OffsetsHome): Promise<CoordinatedGroup | undefined> {
    const loaded = home.loadState().then((stored) => {
      // The shard may have gone meanwhile: nobody would end the sessions of its members.
      if (!home.isServed) return undefined
      return new CoordinatedGroup({ name, home }, this.#options, stored as StoredState | undefined)
    })
    const known: Known = { home, loaded, group: undefined }
    this.#groups.set(name, known)
    try {
      known.group = await loaded
      return known.group
    } catch (error) {
      if (this.#groups.get(name) === known) this.#groups.delete(name)
      throw error
    }
  }

  #leave(name: string, { group }: Known): void {
    group?.group.close(ERROR.NOT_COORDINATOR)
    this.#groups.delete(name)
  }

  #dropIdle(): void {
    for (const [name, { group }] of this.#groups) {
      if (group?.group.isIdle !== true) continue
      this.#groups.delete(name)
      return
    }
  }
}
