/** What every command is given: where state is kept, where results go, and when to stop. */
import { lockCluster } from './cluster/lock.ts'
import type { ClusterState, StateStore } from './cluster/state.ts'
import { CliError, interrupted, usageError } from './errors.ts'
import { exitCodes } from './exit-codes.ts'
import type { Format, Output } from './output.ts'

export interface Context {
  readonly store: StateStore
  readonly output: Output
  readonly format: Format
  /** Aborted, with the signal's name as its reason, when the user wants the command to end. */
  readonly signal: AbortSignal
  /** How this program was called, for the commands that it suggests. */
  readonly command: string
}

export const defaultCluster = 'local'

/** The cluster that is meant: the one named, else the current one, else `local`. */
export function clusterName(context: Context, named: string | undefined): string {
  const name = named ?? context.store.current ?? defaultCluster
  if (!/^[a-z0-9][a-z0-9-]{0,39}$/.test(name)) {
    throw usageError(`--name ${name}: a name is made of a-z, 0-9 and -, 40 at most`)
  }
  return name
}

/** Throws NO_SUCH_CLUSTER. */
export function requireCluster(context: Context, named: string | undefined): ClusterState {
  const name = clusterName(context, named)
  const state = context.store.read(name)
  if (state !== undefined) return state
  const others = context.store.list()
  const exists = others.length === 0 ? 'there is none' : `there is ${others.join(', ')}`
  throw new CliError('NO_SUCH_CLUSTER', {
    message: `there is no cluster ${name}`,
    cause: `${exists} on this machine`,
    hint: 'robust cluster up --nodes 3',
    exit: exitCodes.notFound,
  })
}

/** Runs a change while no other command changes the cluster. */
export async function whileLocked<T>(
  context: Context,
  cluster: string,
  change: () => Promise<T>,
): Promise<T> {
  const release = lockCluster(context.store.folder(cluster))
  try {
    return await change()
  } finally {
    release()
  }
}

export function throwIfInterrupted({ signal }: Context): void {
  if (signal.aborted) throw interrupted(signal.reason)
}
