/** The command line as a function: arguments and an environment in, an exit code out; and what breaks a process. */

export { buildFaultLibrary } from './faults/fault-library.ts'
export { type ProcessFaults, processFaults } from './faults/process-faults.ts'
export { type Environment, run, VERSION } from './program.ts'
