/** The groups that are coordinated here: those whose shard is owned here, each with what it has committed. */
import type { Clock } from '../../../core/ports/clock.ts'
import type {
  CommittedOffset,
  CommittedOffsets,
  OffsetsHome,
} from '../../../core/topics/committed-offsets.ts'
import { GROUPS_MAX } from '../limits.ts'
import { Group } from './group.ts'

export interface CoordinatorOptions {
  readonly offsets: CommittedOffsets
  readonly clock: Clock
  readonly newMemberId: () => string
}

export class CoordinatedGroup {
  readonly group: Group
  readonly home: OffsetsHome
  #offsets: Promise<Map<string, CommittedOffset>> | undefined
  #revision = 0

  constructor(home: OffsetsHome, group: Group) {
    this.home = home
    this.group = group
  }

  get isServed(): boolean {
    return this.home.isServed
  }

  /** Rejects with a StorageError, and may be asked again then. */
  async committed(): Promise<readonly CommittedOffset[]> {
    return [...(await this.#load()).values()]
  }

  async committedAt(topicId: string, partition: number): Promise<CommittedOffset | undefined> {
    return (await this.#load()).get(nameOf(topicId, partition))
  }

  /** False: the shard is lost, the outcome unknown. */
  async commit(offsets: readonly CommittedOffset[]): Promise<boolean> {
    if (!(await this.home.commit(offsets))) return false
    const known = await this.#load()
    for (const offset of offsets) known.set(nameOf(offset.topicId, offset.partition), offset)
    return true
  }

  #load(): Promise<Map<string, CommittedOffset>> {
    const { revision } = this.home
    if (revision !== this.#revision) this.#offsets = undefined
    this.#revision = revision
    this.#offsets ??= this.home.load().then(
      (all) => new Map(all.map((one) => [nameOf(one.topicId, one.partition), one])),
      (error: unknown) => {
        this.#offsets = undefined
        throw error
      },
    )
    return this.#offsets
  }
}

function nameOf(topicId: string, partition: number): string {
  return `${topicId}/${partition}`
}

export class Coordinator {
  readonly #options: CoordinatorOptions
  readonly #groups = new Map<string, CoordinatedGroup>()

  constructor(options: CoordinatorOptions) {
    this.#options = options
  }

  /** The broker that coordinates the group; undefined: none does now. */
  nodeOf(group: string): string | undefined {
    return this.#options.offsets.owner(group)?.node
  }

  /** Undefined: it is coordinated elsewhere. */
  find(name: string): CoordinatedGroup | undefined {
    const known = this.#groups.get(name)
    if (known?.isServed === true) return known
    if (known !== undefined) {
      known.group.close()
      this.#groups.delete(name)
    }
    const home = this.#options.offsets.home(name)
    if (home === undefined) return undefined
    if (this.#groups.size >= GROUPS_MAX) this.#dropIdle()
    const group = new CoordinatedGroup(home, new Group(this.#options))
    this.#groups.set(name, group)
    return group
  }

  /** Shards have come or gone: those who wait at a group that is not coordinated here any more are told. */
  ownersChanged(): void {
    for (const [name, { isServed, group }] of this.#groups) {
      if (isServed) continue
      group.close()
      this.#groups.delete(name)
    }
  }

  #dropIdle(): void {
    for (const [name, { group }] of this.#groups) {
      if (!group.isIdle) continue
      this.#groups.delete(name)
      return
    }
  }
}
