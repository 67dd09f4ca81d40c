/** Makes the library that breaks disks and clocks under a process, by the C compiler of this machine. */
import { execFileSync } from 'node:child_process'
import { existsSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { makeFolder } from '../cluster/folders.ts'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { FAULTS_SOURCE } from '../installation.ts'

/** Where it is, or would be. */
export function faultLibraryIn(folder: string): string {
  return join(folder, 'faults.so')
}

/** Answers the file. Throws NO_COMPILER where it cannot be made. */
export function buildFaultLibrary(folder: string): string {
  const library = faultLibraryIn(folder)
  if (existsSync(library) && statSync(library).mtimeMs > statSync(FAULTS_SOURCE).mtimeMs)
    return library
  makeFolder(folder, 'folder of faults')
  const draft = `${library}.${process.pid}.new`
  try {
    const args = ['-O1', '-shared', '-fPIC', '-o', draft, FAULTS_SOURCE, '-ldl']
    execFileSync('cc', args, { stdio: 'pipe' })
    // Processes may have the one before mapped.
    renameSync(draft, library)
  } catch (error) {
    const [first = ''] = (error instanceof Error ? error.message : String(error)).split('\n')
    throw new CliError('NO_COMPILER', {
      message: 'disks and clocks cannot be broken: the library that does it cannot be compiled',
      cause: /ENOENT/.test(first) ? 'there is no C compiler (cc)' : first,
      hint: 'apt-get install gcc libc6-dev',
      exit: exitCodes.failed,
    })
  }
  return library
}
