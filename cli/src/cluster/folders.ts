/** Folders, made one level at a time: Node's own recursive way never ends where the system answers ENOENT (/proc). */
import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'

/** With all that is above it. Throws CANNOT_WRITE, naming what the folder is for. */
export function makeFolder(path: string, purpose: string): void {
  try {
    make(path)
  } catch (error) {
    throw new CliError('CANNOT_WRITE', {
      message: `the ${purpose} ${path} cannot be made`,
      cause: error instanceof Error ? error.message : String(error),
      exit: exitCodes.cannotCreate,
    })
  }
}

function make(path: string): void {
  if (existsSync(path)) return
  make(dirname(path))
  try {
    mkdirSync(path)
  } catch (error) {
    // Another command made it in the meantime.
    if (!existsSync(path)) throw error
  }
}
