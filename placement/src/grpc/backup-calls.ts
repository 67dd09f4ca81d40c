/** Snapshots and backups: of a node's own log, and of all metadata for another place. */
import { createHash } from 'node:crypto'
import type { ServerWritableStream } from '@grpc/grpc-js'
import type { placement as wire } from '@robust/proto'
import type { Raft } from 'raft-ts'
import type { Leadership } from '../controllers/leadership.ts'
import { PlacementError } from '../errors.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'
import { toStatus } from './error-status.ts'

export interface BackupCallsOptions {
  readonly raft: Raft
  readonly machine: MetadataMachine
  readonly leadership: Leadership
  readonly readBarrier: () => Promise<unknown>
}

export async function takeSnapshot({ raft }: BackupCallsOptions): Promise<wire.TakeSnapshotReply> {
  const { index, bytes } = await raft.takeSnapshot().catch((error: unknown) => {
    throw new PlacementError('NO_LEADER', 'this member does not run', { cause: error })
  })
  return { nodeId: raft.status().nodeId, index, bytes }
}

type Call = ServerWritableStream<wire.BackupRequest, wire.BackupPart>

/** Ends the call with an error when this is not the leader, or stops leading before the first byte. */
export async function backup(options: BackupCallsOptions, call: Call): Promise<void> {
  const { raft, machine, leadership, readBarrier } = options
  try {
    leadership.require()
    await readBarrier()
    const { clusterId, index, generation } = machine.state
    const { nodeId } = raft.status()
    // Frozen in the same turn as the header.
    const chunks = machine.snapshot()
    const header = { clusterId, nodeId, index, generation, timeMs: Date.now() }
    await write(call, { kind: { $case: 'header', value: header } })
    const hash = createHash('sha256')
    for await (const chunk of chunks) {
      if (call.cancelled) return
      hash.update(chunk)
      await write(call, { kind: { $case: 'chunk', value: chunk } })
    }
    await write(call, { kind: { $case: 'sha256', value: hash.digest('hex') } })
    call.end()
  } catch (error) {
    const known = toStatus(error)
    call.emit('error', known ?? { code: 13, details: 'the backup failed; see the log' })
  }
}

function write(call: Call, part: wire.BackupPart): Promise<void> {
  if (call.write(part)) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      call.off('drain', done)
      call.off('cancelled', done)
      resolve()
    }
    call.on('drain', done)
    call.on('cancelled', done)
  })
}
