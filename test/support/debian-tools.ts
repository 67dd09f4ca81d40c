// Set-up of the end-to-end tests: the foreign programs they drive are on the PATH, or are installed
// (as root on Debian), or the run says loudly what is missing before the tests that need it fail; with
// CI=true nothing is run then.

import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

interface Tool {
  readonly command: string
  readonly packages: readonly string[]
  /** The service that the packages start by themselves, if any; nobody asked for it. */
  readonly service?: string
}

const TOOLS: readonly Tool[] = [
  { command: 'mosquitto_sub', packages: ['mosquitto-clients', 'mosquitto'], service: 'mosquitto' },
  { command: 'redis-server', packages: ['redis-server'], service: 'redis-server' },
  { command: 'ip', packages: ['iproute2'] },
  { command: 'nft', packages: ['nftables'] },
]

/** What the machine offers; replaced in tests. */
export interface Machine {
  readonly mayInstall: boolean
  readonly ci: boolean
  has(command: string): boolean
  /** Throws when the command fails. */
  run(command: string, args: readonly string[]): void
  say(line: string): void
}

/** The missing commands after an attempt to install them. Throws when there are any and this is CI. */
export function provideTools(machine: Machine, tools: readonly Tool[] = TOOLS): readonly string[] {
  for (const tool of tools) {
    if (!machine.has(tool.command) && machine.mayInstall) install(machine, tool)
  }
  const missing = tools.filter((tool) => !machine.has(tool.command))
  if (missing.length === 0) return []
  const commands = missing.map(({ command }) => command)
  const packages = missing.flatMap((tool) => tool.packages)
  const advice = `MISSING: ${commands.join(', ')}. Install: apt-get install ${packages.join(' ')}`
  if (machine.ci) throw new Error(advice)
  machine.say(`${advice}; what needs it will fail.`)
  return commands
}

function install(machine: Machine, tool: Tool): void {
  machine.say(`installing ${tool.packages.join(', ')} for ${tool.command}`)
  const command = ['install', '-y', '--no-install-recommends', ...tool.packages]
  try {
    machine.run('apt-get', ['update'])
    machine.run('apt-get', command)
  } catch (error) {
    machine.say(`apt-get failed: ${error instanceof Error ? error.message : String(error)}`)
    return
  }
  const { service } = tool
  if (service === undefined) return
  try {
    machine.run('service', [service, 'stop'])
  } catch {
    machine.say(`${service} was not running after its installation`)
  }
}

export function thisMachine(whose = 'end-to-end'): Machine {
  return {
    mayInstall: process.getuid?.() === 0 && existsSync('/etc/debian_version'),
    ci: process.env['CI'] === 'true',
    has: isOnPath,
    run: (command, args) => {
      const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
      execFileSync(command, args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
    },
    say: (line) => process.stderr.write(`[${whose}] ${line}\n`),
  }
}

function isOnPath(command: string): boolean {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    try {
      accessSync(join(folder, command), constants.X_OK)
      return true
    } catch {
      // Not in this folder.
    }
  }
  return false
}

/** vitest calls this once, before the first end-to-end file. */
export function setup(): void {
  provideTools(thisMachine())
}
