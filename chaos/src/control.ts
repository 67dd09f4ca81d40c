/** What is done to a cluster, whoever runs it: the command line on one machine, or containers. */

import type { VersionedInput, VersionedOutput } from './checkers/linearizability/versioned.ts'

export type NodeRole = 'broker' | 'placement' | 'storage'

export interface ControlledNode {
  readonly name: string
  readonly role: NodeRole
}

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** Where clients reach the brokers, one entry a broker. */
export interface Endpoints {
  readonly mqtt: readonly HostPort[]
  readonly kafka: readonly HostPort[]
  readonly sqs: readonly HostPort[]
}

export interface Disturbance {
  /** ms */
  readonly delayMs: number
  readonly jitterMs: number
  readonly lossPercent: number
}

/** Every call rejects when it could not be done. Names are those of nodes, or `leader`. */
export interface ClusterControl {
  readonly nodes: readonly ControlledNode[]
  readonly endpoints: Endpoints
  kill(node: string): Promise<void>
  pause(node: string): Promise<void>
  resume(node: string): Promise<void>
  /** Stops it in order, and starts it. */
  restart(node: string): Promise<void>
  /** Starts those of them that do not run, all at once. */
  start(nodes: readonly string[]): Promise<void>
  drain(node: string): Promise<void>
  undrain(node: string): Promise<void>
  /** One more node of the Placement Center, which votes when it resolves. Undefined: its members cannot be changed. */
  addMember?(): Promise<string>
  /** One that was added. */
  removeMember?(node: string): Promise<void>
  /** Undefined: links cannot be disturbed. */
  readonly links?: ClusterLinks
  /** Undefined: processes have the disks and the clock of their machine. */
  readonly processes?: BreakableProcesses
  /** A client that begins at this one of the Placement Center's nodes; undefined: they are out of reach. */
  readonly metadata?: (first: number) => MetadataClient
  /** The node that leads the Placement Center now; undefined: none does. */
  leader(): Promise<string | undefined>
  /** Undefined: nothing is missing; else what is. */
  trouble(): Promise<string | undefined>
}

export interface BreakableProcesses {
  /** Until it is told otherwise (undefined). A process that cannot write may end itself. */
  breakDisk(node: string, how: 'full' | 'fsync' | undefined): Promise<void>
  /** Kills it, and takes a share of what it had written and not synced; bytes that went. */
  losePower(node: string, share: () => number): Promise<number>
  /** Its time of day is so far ahead from now on, ms; below 0: behind. */
  moveClock(node: string, aheadMs: number): Promise<void>
  hasEnded(node: string): Promise<boolean>
}

/** Makes one call at a time, and goes to another node when one fails it. */
export interface MetadataClient {
  /** Values are whole numbers, as texts. Rejects when it was not done, or nobody knows; `judge` says which. */
  run(key: string, input: VersionedInput): Promise<VersionedOutput>
  judge(error: unknown): 'fail' | 'unknown'
  /** Who owns what, as the node it is at has applied it. */
  leases(): Promise<LeaseView>
  close(): void
}

export interface LeaseView {
  /** Of the last entry that was applied. */
  readonly index: number
  readonly leases: readonly {
    readonly shard: number
    readonly epoch: number
    /** Empty: nobody. */
    readonly owner: string
  }[]
}

export interface ClusterLinks {
  /** Nothing gets from `nodes` to `others`; nor back, unless it is one way. */
  cut(nodes: readonly string[], others: readonly string[], oneWay: boolean): Promise<void>
  disturb(from: string, to: string, how: Disturbance): Promise<void>
  heal(): Promise<void>
}
