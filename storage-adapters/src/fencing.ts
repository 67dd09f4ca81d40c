/**
 * Who may write a shard, and which commit comes next: the rules that every adapter applies before it
 * touches anything. Pure; keeping the head durable and atomic with the data is the adapter's part.
 */
import { StorageError } from './errors.ts'
import type { CommitRequest, OpenRequest } from './storage-adapter.ts'

/** The durable facts about a shard. */
export interface ShardHead {
  /** 0: never opened. */
  epoch: number
  owner: string
  commitNumber: number
  /** Epoch of the last commit: a retry counts as one only under the same epoch. */
  commitEpoch: number
  /** A tombstone: opening takes a higher epoch. */
  dropped: boolean
}

export function newShardHead(): ShardHead {
  return { epoch: 0, owner: '', commitNumber: 0, commitEpoch: 0, dropped: false }
}

/** True when the epoch is new and must be stored; false when the same owner opens again. */
export function admitOpen(head: Readonly<ShardHead>, request: OpenRequest): boolean {
  if (request.epoch > head.epoch) return true
  if (request.epoch < head.epoch) throw fenced(request.shard, request.epoch, head)
  if (head.dropped) {
    throw new StorageError('FENCED', `Shard ${request.shard} was dropped at epoch ${head.epoch}`)
  }
  if (request.owner !== head.owner) {
    throw new StorageError(
      'FENCED',
      `Shard ${request.shard} is held at epoch ${head.epoch} by ${head.owner}`,
    )
  }
  return false
}

/** Refuses a commit or a close from anyone but the one who has the shard open. */
export function admitOwner(
  head: Readonly<ShardHead>,
  isOpen: boolean,
  caller: { readonly shard: number; readonly epoch: number },
): void {
  if (caller.epoch < head.epoch) throw fenced(caller.shard, caller.epoch, head)
  if (caller.epoch > head.epoch || head.dropped || !isOpen) {
    throw new StorageError('NOT_OPEN', `Shard ${caller.shard} is not open at epoch ${caller.epoch}`)
  }
}

/** True: apply it. False: a retry of the last commit, which resolves without an effect. */
export function admitCommitNumber(head: Readonly<ShardHead>, request: CommitRequest): boolean {
  if (request.commitNumber === head.commitNumber + 1) return true
  if (request.commitNumber === head.commitNumber && request.epoch === head.commitEpoch) return false
  throw new StorageError(
    'GAP',
    `Shard ${request.shard}: commit ${request.commitNumber} after ${head.commitNumber}`,
  )
}

/** A drop takes the stored epoch or a higher one, open or not. */
export function admitDrop(head: Readonly<ShardHead>, shard: number, epoch: number): void {
  if (epoch < head.epoch) throw fenced(shard, epoch, head)
}

function fenced(shard: number, epoch: number, head: Readonly<ShardHead>): StorageError {
  return new StorageError(
    'FENCED',
    `Shard ${shard}: epoch ${epoch} is below ${head.epoch}, held by ${head.owner}`,
  )
}
