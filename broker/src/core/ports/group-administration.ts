/** Groups of consumers as operators look at them and change them, whatever protocol they are of. */

export interface ListedGroup {
  readonly name: string
  readonly type: string
  readonly state: string
  readonly members: number
}

export interface AssignedPartitions {
  readonly topic: string
  readonly partitions: readonly number[]
}

export interface DescribedGroup {
  readonly name: string
  readonly type: string
  readonly state: string
  /** How partitions are spread over members. */
  readonly protocol: string
  /** Of the last rebalance, in the words of a client; empty: none said. */
  readonly reason: string
  readonly members: readonly {
    readonly memberId: string
    /** Empty: it is no static member. */
    readonly instanceId: string
    readonly clientId: string
    readonly clientHost: string
    readonly partitions: readonly AssignedPartitions[]
  }[]
  readonly offsets: readonly {
    readonly topic: string
    readonly partition: number
    readonly offset: number
    /** Wall clock, ms. */
    readonly committedAtMs: number
  }[]
}

export interface SoughtOffset {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** Undefined as an answer: the group is coordinated elsewhere. All reject with BrokerError UNAVAILABLE. */
export interface GroupAdministration {
  /** Those that are coordinated here. */
  list(): Promise<readonly ListedGroup[]>
  /** Null: there is none of that name. */
  describe(name: string): Promise<DescribedGroup | null | undefined>
  /** False: the group was made. Rejects with REFUSED when it has members, NOT_FOUND when a partition is not there. */
  seek(name: string, offsets: readonly SoughtOffset[]): Promise<boolean | undefined>
  /** False: there was none. Rejects with REFUSED when it has members. */
  delete(name: string): Promise<boolean | undefined>
  /** Of the first record of that time or later; null: all are earlier. */
  offsetForTime(
    place: Omit<SoughtOffset, 'offset'>,
    timeMs: number,
  ): Promise<number | null | undefined>
}
