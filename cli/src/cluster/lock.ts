/** One command at a time changes a cluster. The lock of a command that was killed is taken over. */
import { readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { makeFolder } from './folders.ts'
import { identify, type ProcessIdentity, processState } from './process-table.ts'

/** Throws CLUSTER_BUSY (try again) while another command holds it. The returned function lets go of it. */
export function lockCluster(folder: string): () => void {
  makeFolder(folder, 'folder of the cluster')
  const path = join(folder, 'lock')
  for (let attempt = 0; attempt < 2; attempt++) {
    if (create(path)) return () => release(folder, path)
    const holder = holderOf(path)
    if (processState(holder) !== 'stopped') throw busy(holder)
    rmSync(path, { force: true })
  }
  throw busy(holderOf(path))
}

/** A folder that holds nothing else was made for the lock alone. */
function release(folder: string, path: string): void {
  rmSync(path, { force: true })
  try {
    rmdirSync(folder)
  } catch {
    // It is in use, or gone.
  }
}

function create(path: string): boolean {
  try {
    writeFileSync(path, JSON.stringify(identify(process.pid)), { flag: 'wx' })
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

function holderOf(path: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ProcessIdentity
  } catch {
    return undefined
  }
}

function busy(holder: ProcessIdentity | undefined): CliError {
  return new CliError('CLUSTER_BUSY', {
    message: 'another robust command is changing this cluster',
    cause: holder === undefined ? 'it has just begun' : `pid ${holder.pid} holds the lock`,
    hint: 'the same again when it has ended',
    exit: exitCodes.tryAgain,
  })
}
