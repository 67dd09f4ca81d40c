/**
 * The command tree: names, flags and help. Each command's own module is loaded when it is called, so that
 * `--version` and `--help` cost nothing. Answers the exit code; only main.ts knows the process.
 */
import { Command, CommanderError } from 'commander'
import { addBridgeCommands } from './bridge-commands.ts'
import { addChaosCommands } from './chaos-commands.ts'
import { addClientCommands } from './client-commands.ts'
import { createStateStore, type Role } from './cluster/state.ts'
import { type Act, addClusterCommands } from './cluster-commands.ts'
import { addConfigCommands } from './config-commands.ts'
import type { Context } from './context.ts'
import {
  asCliError,
  type CliError,
  formatError,
  formatErrorJson,
  interrupted,
  usageError,
} from './errors.ts'
import { exitCodes } from './exit-codes.ts'
import { addGroupCommands } from './group-commands.ts'
import { createOutput, type Format } from './output.ts'
import { addPlacementCommands } from './placement-commands.ts'
import { addQueueCommands } from './queue-commands.ts'
import { addRuleCommands } from './rule-commands.ts'
import { addSecurityCommands } from './security-commands.ts'
import { addStorageCommands } from './storage-commands.ts'
import { addTopicCommands } from './topic-commands.ts'

export interface Environment {
  /** Folder of the state files. */
  readonly home: string
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
  readonly isTerminal: { readonly stdout: boolean; readonly stderr: boolean }
  readonly noColour: boolean
  /** Whether no person is there. */
  readonly ci: boolean
  /** How this program was called: `robust`, `npx robust`. */
  readonly command: string
  /** Aborted with the signal's name. */
  readonly signal: AbortSignal
  /** Ends the process at once: something in it can no longer be trusted. */
  readonly exit: (code: number) => void
}

export const VERSION = '0.1.0'

/**
 * Runs one command. Undefined: a server runs in this process from now on, and sets the exit code itself.
 * Never throws.
 */
export async function run(
  args: readonly string[],
  environment: Environment,
): Promise<number | undefined> {
  try {
    const role = roleOf(args)
    if (role !== undefined) return await runRole(role, args.slice(2), environment)
    if (args[0] === 'server' && args[1] === 'start')
      return await runServer(args.slice(2), environment)
    return await runCommand(args, environment)
  } catch (error) {
    return showError(args, environment, error)
  }
}

const ROLES: readonly Role[] = ['placement', 'broker', 'storage', 'network']

/** Role programs read their own arguments: this program does not know them. */
function roleOf([noun, verb]: readonly string[]): Role | undefined {
  if (verb !== 'start') return undefined
  return ROLES.find((role) => role === noun)
}

async function runRole(
  role: Role,
  args: readonly string[],
  { home, stderr }: Environment,
): Promise<undefined> {
  const { startRole } = await import('./commands/roles.ts')
  await startRole(role, args, { store: createStateStore(home), stderr })
}

async function runServer(args: readonly string[], environment: Environment): Promise<number> {
  const { stdout, stderr, command, signal, exit } = environment
  const { startServer } = await import('./commands/server-start.ts')
  const stopRequested = new Promise<unknown>((resolve) => {
    signal.addEventListener('abort', resolve)
  })
  return startServer(args, { stdout, stderr, command, stopRequested, exit })
}

async function runCommand(args: readonly string[], environment: Environment): Promise<number> {
  let exit: number = exitCodes.ok
  const program = createProgram(environment, (code) => {
    exit = code
  })
  if (args.length === 0) {
    environment.stdout(program.helpInformation())
    return exitCodes.ok
  }
  await program.parseAsync(args, { from: 'user' })
  return exit
}

function showError(args: readonly string[], environment: Environment, error: unknown): number {
  const failure = asShown(error, environment)
  if (failure === undefined) return exitCodes.ok
  const { command, stderr } = environment
  const isJson = args.some((arg, at) => /^(-o|--output)$/.test(arg) && args[at + 1] === 'json')
  const text = isJson ? formatErrorJson(failure) : formatError(failure)
  stderr(text.replaceAll(/^(try: )?robust /gm, `$1${command} `))
  return failure.failure.exit
}

/** Undefined: help or the version was shown, and all is well. */
function asShown(error: unknown, { signal }: Environment): CliError | undefined {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return undefined
    if (error.code === 'commander.help') return usageError('a command is missing')
    const message = error.message
      .replace(/^error: /, '')
      .replace(/\n\(Did you mean/, ' (did you mean')
    return usageError(message, 'robust --help')
  }
  if (signal.aborted && asCliError(error).id === 'INTERNAL') return interrupted(signal.reason)
  return asCliError(error)
}

function createProgram(environment: Environment, setExit: (code: number) => void): Command {
  const program = new Command('robust')
  program
    .description('A message broker cluster: stateless brokers, a Raft Placement Center, storage.')
    .version(VERSION, '-V, --version')
    .option('-q, --quiet', 'no progress on stderr')
    .exitOverride()
    .configureOutput({
      writeOut: environment.stdout,
      writeErr: environment.stderr,
      // showError shows them, in our own form.
      outputError: () => undefined,
    })
  const act: Act = async (flags, command) => {
    const quiet = program.opts<{ quiet?: boolean }>().quiet === true
    setExit(await command(createContext(environment, flags.output ?? 'table', quiet)))
  }
  const wiring = { act, isTerminal: environment.isTerminal.stdout }
  addClusterCommands(program, wiring)
  addConfigCommands(program, wiring)
  addTopicCommands(program, wiring)
  addGroupCommands(program, wiring)
  addQueueCommands(program, wiring)
  addClientCommands(program, wiring)
  addSecurityCommands(program, wiring)
  addRuleCommands(program, wiring)
  addBridgeCommands(program, wiring)
  addPlacementCommands(program, wiring)
  addChaosCommands(program, wiring)
  addRoleHelp(program)
  addStorageCommands(program, act)
  return program
}

function createContext(environment: Environment, format: Format, quiet: boolean): Context {
  const { home, stdout, stderr, isTerminal, noColour, ci, command, signal } = environment
  const progress = isTerminal.stderr && !quiet && !ci && !noColour && format !== 'json'
  const output = createOutput({ stdout, stderr, colours: isTerminal.stdout && !noColour, progress })
  return { store: createStateStore(home), output, format, signal, command }
}

/** Shown in the help only: these programs read their own arguments before this one looks at them. */
function addRoleHelp(program: Command): void {
  const roles = [
    ['server', 'one process with all roles'],
    ['broker', 'one broker; joins a cluster by hand'],
    ['placement', 'one Placement Center node'],
    ['storage', 'one storage node, for all brokers of a cluster'],
    ['network', 'the links of a cluster on this machine, to be disturbed'],
  ] as const
  for (const [name, description] of roles) {
    const known = program.commands.find((command) => command.name() === name)
    const role = known ?? program.command(name).description(description)
    role.command('start').description(`${description}; robust ${name} start --help tells its flags`)
  }
}
