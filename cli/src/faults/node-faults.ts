/** What breaks the processes of a cluster that was made `--breakable`. */
import { existsSync, realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { makeFolder } from '../cluster/folders.ts'
import type { ClusterState, NodeRecord } from '../cluster/state.ts'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import type { Output } from '../output.ts'
import { buildFaultLibrary, faultLibraryIn } from './fault-library.ts'
import { type ProcessFaults, processFaults } from './process-faults.ts'

/** Undefined: it lives with the disk and the clock of the machine. */
export function faultsOfNode({ faults, dataDir }: NodeRecord): ProcessFaults | undefined {
  if (faults === undefined) return undefined
  const library = faultLibraryIn(dirname(faults))
  if (!existsSync(library)) return undefined
  makeFolder(dataDir, 'data folder')
  // The library sees files by their real names.
  return processFaults({ library, controls: faults, root: realpathSync(dataDir) })
}

/** Before nodes start. Without a compiler they start all the same, and the user is told. */
export function prepareFaults(nodes: readonly NodeRecord[], output: Output): void {
  for (const folder of faultFoldersOf(nodes)) {
    try {
      buildFaultLibrary(folder)
    } catch (error) {
      if (!(error instanceof CliError)) throw error
      const { cause, hint } = error.failure
      output.warn(`${error.message} (${cause}; ${hint}); links can be`)
    }
  }
}

/** Throws NO_COMPILER, or PROCESSES_NOT_BREAKABLE, when a process of the cluster lives without. */
export function requireFaults(state: ClusterState): void {
  if (canBreakProcesses(state)) return
  const { name, nodes, breakable } = state
  for (const folder of faultFoldersOf(nodes)) buildFaultLibrary(folder)
  const again = `robust cluster down --name ${name}, then robust cluster up --name ${name}`
  throw new CliError('PROCESSES_NOT_BREAKABLE', {
    message: `the processes of ${name} have the disks and the clock of this machine`,
    cause: 'both can be broken only under processes that were started so',
    hint:
      breakable === true
        ? again
        : `robust cluster up --name OTHER --breakable, or robust cluster down --purge --name ${name} first`,
    exit: exitCodes.cannotCreate,
  })
}

/** Whether all were started so. */
export function canBreakProcesses({ nodes }: ClusterState): boolean {
  return nodes.every(({ role, faults }) => {
    return role === 'network' || (faults !== undefined && existsSync(faults))
  })
}

export function faultFoldersOf(nodes: readonly NodeRecord[]): readonly string[] {
  return [...new Set(nodes.flatMap(({ faults }) => (faults === undefined ? [] : dirname(faults))))]
}
