/**
 * A new cluster of one node from a backup: the data folder gets a snapshot of what the backup has, one generation
 * on. So no number that was given out is given out again, every broker must register anew, and the nodes that the
 * backup came from are strangers, since the cluster has another id.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FileSnapshotStore, wipeStores } from 'raft-ts'
import { ConfigError } from '../config.ts'
import { type DataFolder, hasLog, IdentityError, openDataFolder } from '../identity.ts'
import { applyCommand } from '../metadata/apply.ts'
import { decodeSnapshot, snapshotChunks } from '../metadata/snapshot.ts'
import type { MetadataState } from '../metadata/state.ts'
import { type BackupHead, parseBackup } from './backup-file.ts'

export interface RestoreOptions {
  readonly file: string
  readonly generation: number | undefined
  readonly dataDir: string
  readonly nodeId: string
  readonly clusterId: string | undefined
  readonly address: string
}

/** Of no entry: any term of the new log is at least as high. */
const TERM = 1

/**
 * May be called again when it was interrupted: the folder has no log before it is done.
 * @throws IdentityError when the folder has a log; ConfigError when the backup cannot be used.
 */
export async function restoreFolder(options: RestoreOptions): Promise<DataFolder> {
  const { file, dataDir, nodeId, address } = options
  if (hasLog(dataDir)) {
    throw new IdentityError(
      `${dataDir} has a log already: --restore needs an empty folder; ` +
        `without --restore the node goes on with what it has`,
    )
  }
  const { head, state } = await readBackup(file)
  const generation = options.generation ?? state.generation + 1
  if (generation <= state.generation) {
    throw new ConfigError(
      `--restore-generation ${generation}: the backup is of generation ${state.generation} already`,
    )
  }
  const base = head.clusterId.replace(/-restored-\d+$/, '')
  const clusterId = options.clusterId ?? `${base}-restored-${generation}`
  if (clusterId === head.clusterId) {
    throw new ConfigError(
      `--cluster-id ${clusterId} is that of the backup: its nodes could take part in both`,
    )
  }
  begin(state, { head, generation, clusterId })
  const folder = openDataFolder(dataDir, { nodeId, clusterId }, { nodeId, clusterId })
  const directory = join(dataDir, 'snapshots')
  await wipeStores([directory])
  const store = new FileSnapshotStore({ directory })
  await store.open()
  const position = { index: state.index, term: TERM, members: [{ id: nodeId, address }] }
  await store.create(position, each(snapshotChunks(state)))
  return folder
}

async function readBackup(file: string): Promise<{ head: BackupHead; state: MetadataState }> {
  try {
    const { head, content } = parseBackup(await readFile(file))
    return { head, state: decodeSnapshot(content) }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ConfigError(`--restore ${file}: ${reason}`, { cause: error })
  }
}

function begin(
  state: MetadataState,
  to: { readonly head: BackupHead; readonly generation: number; readonly clusterId: string },
): void {
  const { head, generation, clusterId } = to
  const made = new Date(head.timeMs).toISOString()
  const command = {
    kind: 'begin-generation',
    previous: state.generation,
    generation,
    clusterId,
    reason: `restored from a backup of cluster ${head.clusterId}, made by ${head.nodeId} at ${made}`,
    timeMs: Date.now(),
  } as const
  applyCommand(state, command, state.index + 1)
}

async function* each(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks
}
