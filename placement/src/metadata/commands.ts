/**
 * The commands of the replicated log and their encoding: one version byte, then JSON in UTF-8.
 * Wall time is a field (`timeMs`, of the leader that proposed): for people only, nothing is decided by it.
 */
import type { ResourceChange } from './resources.ts'

export interface NodeEndpoint {
  readonly protocol: string
  readonly host: string
  readonly port: number
}

/** What a node says of itself when it joins. */
export interface NodeRegistration {
  readonly nodeId: string
  /** Random for each start of the node's process. */
  readonly incarnation: string
  readonly version: string
  readonly grpcAddress: string
  readonly endpoints: readonly NodeEndpoint[]
}

/** Replaced: another process of the node has begun, which knows that this one has ended. */
export type RemovalCause = 'time-out' | 'deregistered' | 'replaced'

export interface ShardGrant {
  readonly shard: number
  readonly nodeId: string
  readonly nodeEpoch: number
  /** The shard's epoch when this was decided. */
  readonly prevEpoch: number
  readonly reason: string
}

export interface ShardOpening {
  readonly shard: number
  readonly epoch: number
  readonly storageIncarnation: string
  readonly commitNumber: number
}

export interface ShardRelease {
  readonly shard: number
  readonly epoch: number
  readonly commitNumber: number
}

interface Timed {
  readonly timeMs: number
}

export interface Bootstrap extends Timed {
  readonly kind: 'bootstrap'
  readonly clusterId: string
  readonly shardCount: number
}

export interface RegisterNode extends Timed {
  readonly kind: 'register-node'
  readonly node: NodeRegistration
}

/** Fences the node's epoch: its shards are free and nothing of it is accepted any more. */
export interface RemoveNode extends Timed {
  readonly kind: 'remove-node'
  readonly nodeId: string
  readonly nodeEpoch: number
  readonly cause: RemovalCause
  readonly reason: string
}

export interface GrantShards extends Timed {
  readonly kind: 'grant-shards'
  readonly grants: readonly ShardGrant[]
}

export interface OpenShards extends Timed {
  readonly kind: 'open-shards'
  readonly nodeId: string
  readonly nodeEpoch: number
  readonly shards: readonly ShardOpening[]
}

export interface ReleaseShards extends Timed {
  readonly kind: 'release-shards'
  readonly nodeId: string
  readonly nodeEpoch: number
  readonly shards: readonly ShardRelease[]
}

export interface SetDraining extends Timed {
  readonly kind: 'set-draining'
  readonly nodeId: string
  readonly nodeEpoch: number
  /** Null: the drain is taken back. */
  readonly deadlineMs: number | null
  readonly reason: string
}

/** All of the changes, or none when one's expected version does not hold. */
export interface ChangeResources extends Timed {
  readonly kind: 'change-resources'
  readonly changes: readonly ResourceChange[]
  readonly by: string
}

/**
 * The metadata was restored from a backup. Whoever was granted something after it was made must be fenced:
 * no node is a member and no shard is owned any more, and every number given out from now on is higher.
 */
export interface BeginGeneration extends Timed {
  readonly kind: 'begin-generation'
  /** That the backup was of. */
  readonly previous: number
  /** The new one; left out, the next. */
  readonly generation?: number
  /** Another one from now on, so that nodes of before are strangers; left out, it stays. */
  readonly clusterId?: string
  readonly reason: string
}

/**
 * Which data folder a Placement Center node keeps its log in. Committed once for an id, for ever: the same id
 * with another folder has lost its log, and could vote twice in a term.
 */
export interface RecordMember extends Timed {
  readonly kind: 'record-member'
  readonly memberId: string
  readonly folderId: string
}

/** A decision that changes no metadata but belongs into the story. */
export interface RecordEvent extends Timed {
  readonly kind: 'record-event'
  readonly event: {
    readonly kind: string
    readonly subject: string
    readonly reason: string
    readonly shards: readonly number[]
  }
}

export type Command =
  | Bootstrap
  | RegisterNode
  | RemoveNode
  | GrantShards
  | OpenShards
  | ReleaseShards
  | SetDraining
  | ChangeResources
  | BeginGeneration
  | RecordMember
  | RecordEvent

const COMMAND_VERSION = 1

const KINDS: Readonly<Record<Command['kind'], true>> = {
  bootstrap: true,
  'register-node': true,
  'remove-node': true,
  'grant-shards': true,
  'open-shards': true,
  'release-shards': true,
  'set-draining': true,
  'change-resources': true,
  'begin-generation': true,
  'record-member': true,
  'record-event': true,
}

export function encodeCommand(command: Command): Uint8Array {
  const body = JSON.stringify(command)
  const bytes = Buffer.allocUnsafe(Buffer.byteLength(body) + 1)
  bytes[0] = COMMAND_VERSION
  bytes.write(body, 1)
  return bytes
}

/**
 * @throws Error for bytes of a newer version or of no command: a member that cannot read its log must not
 * go on as if it had.
 */
export function decodeCommand(bytes: Uint8Array): Command {
  if (bytes[0] !== COMMAND_VERSION) {
    throw new Error(`a command has version ${bytes[0]}, this program reads ${COMMAND_VERSION}`)
  }
  const body = Buffer.from(bytes.buffer, bytes.byteOffset + 1, bytes.byteLength - 1)
  const command = JSON.parse(body.toString()) as Command
  if (!Object.hasOwn(KINDS, command.kind)) {
    throw new Error(`a command has the unknown kind ${String(command.kind)}`)
  }
  return command
}
