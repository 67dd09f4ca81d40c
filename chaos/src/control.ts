/** What is done to a cluster, whoever runs it: the command line on one machine, or containers. */

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
  /** Undefined: links cannot be disturbed. */
  readonly links?: ClusterLinks
  /** The node that leads the Placement Center now; undefined: none does. */
  leader(): Promise<string | undefined>
  /** Undefined: nothing is missing; else what is. */
  trouble(): Promise<string | undefined>
}

export interface ClusterLinks {
  /** Nothing gets from `nodes` to `others`; nor back, unless it is one way. */
  cut(nodes: readonly string[], others: readonly string[], oneWay: boolean): Promise<void>
  disturb(from: string, to: string, how: Disturbance): Promise<void>
  heal(): Promise<void>
}
