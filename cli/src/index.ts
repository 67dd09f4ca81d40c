/** The command line as a function: arguments and an environment in, an exit code out. */
export { type Environment, run, VERSION } from './program.ts'
