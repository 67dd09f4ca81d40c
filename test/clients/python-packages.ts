/** Python packages from the index that pip is set up with, of fixed versions, in a virtual environment that stays. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Machine } from '../support/debian-tools.ts'
import { debian, FETCHED, works } from './suite.ts'

const SYSTEM_PYTHON = '/usr/bin/python3'
const ENVIRONMENT = join(FETCHED, 'python')

/** Has the packages. */
export const PYTHON = join(ENVIRONMENT, 'bin/python')

/** Installs `packages` (`name==version`) unless `module` can be imported. Answers what is missing nevertheless. */
export function providePython(
  machine: Machine,
  { packages, module }: { readonly packages: readonly string[]; readonly module: string },
): string | undefined {
  const has = (): boolean => works(machine, PYTHON, '-c', `import ${module}`)
  const missing = debian(machine, ['python3', 'python3-venv'], () =>
    works(machine, SYSTEM_PYTHON, '-c', 'import ensurepip'),
  )
  if (missing !== undefined) return missing
  mkdirSync(FETCHED, { recursive: true })
  if (!works(machine, PYTHON, '-c', 'pass')) {
    works(machine, SYSTEM_PYTHON, '-m', 'venv', ENVIRONMENT)
  }
  works(machine, PYTHON, '-m', 'pip', 'install', '-q', ...packages)
  return has() ? undefined : `${packages.join(', ')} by pip`
}
