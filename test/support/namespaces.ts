/**
 * Machines that are none: network namespaces on one bridge, each with an address of its own, which can be cut off
 * from each other. Needs root, iproute2 and nftables. Nothing outside of them is changed but for one interface.
 */
import { execFileSync } from 'node:child_process'

export interface Cut {
  readonly from: readonly string[]
  /** Packets that are dropped: to the others, from them, or both. */
  readonly direction?: 'in' | 'out' | 'both'
}

export class Namespaces {
  readonly #id = Math.random().toString(36).slice(2, 7)
  readonly #net = `10.${200 + Math.floor(Math.random() * 50)}.${Math.floor(Math.random() * 250)}`
  readonly #machines: string[] = []

  /** Undefined: they can be had. Else why not. */
  static obstacle(): string | undefined {
    if (process.getuid?.() !== 0) return 'network namespaces need root'
    try {
      run('ip', ['netns', 'add', 'robust-probe'])
      run('ip', ['netns', 'del', 'robust-probe'])
      run('nft', ['--version'])
      return undefined
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }

  constructor(machines: readonly string[]) {
    const hub = this.#name('hub')
    run('ip', ['netns', 'add', hub])
    within(hub, 'ip', ['link', 'add', 'br0', 'type', 'bridge'])
    within(hub, 'ip', ['link', 'set', 'br0', 'up'])
    for (const machine of machines) this.#add(machine)
    // The way in for the test itself.
    const [near, far] = [`r${this.#id}`, 'host']
    run('ip', ['link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', hub])
    within(hub, 'ip', ['link', 'set', far, 'master', 'br0', 'up'])
    run('ip', ['addr', 'add', `${this.#net}.254/24`, 'dev', near])
    run('ip', ['link', 'set', near, 'up'])
  }

  #name(machine: string): string {
    return `robust-${this.#id}-${machine}`
  }

  #add(machine: string): void {
    const name = this.#name(machine)
    this.#machines.push(machine)
    run('ip', ['netns', 'add', name])
    const port = `p${this.#machines.length}`
    const peer = ['peer', 'name', port, 'netns', this.#name('hub')]
    run('ip', ['link', 'add', 'eth0', 'netns', name, 'type', 'veth', ...peer])
    within(this.#name('hub'), 'ip', ['link', 'set', port, 'master', 'br0', 'up'])
    within(name, 'ip', ['addr', 'add', `${this.address(machine)}/24`, 'dev', 'eth0'])
    within(name, 'ip', ['link', 'set', 'eth0', 'up'])
    within(name, 'ip', ['link', 'set', 'lo', 'up'])
  }

  address(machine: string): string {
    return `${this.#net}.${this.#machines.indexOf(machine) + 1}`
  }

  /** What a command is to be run by, to run on a machine. */
  on(machine: string): readonly string[] {
    return ['ip', 'netns', 'exec', this.#name(machine)]
  }

  /** Drops packets silently, as a broken switch does. */
  cut(machine: string, { from, direction = 'both' }: Cut): void {
    const others = `{ ${from.map((other) => this.address(other)).join(', ')} }`
    const inward = `chain i { type filter hook input priority 0; ip saddr ${others} drop; }`
    const outward = `chain o { type filter hook output priority 0; ip daddr ${others} drop; }`
    const chains = [direction === 'out' ? '' : inward, direction === 'in' ? '' : outward]
    within(this.#name(machine), 'nft', [`table inet cut {\n${chains.join('\n')}\n}\n`])
  }

  heal(machine: string): void {
    within(this.#name(machine), 'nft', ['delete', 'table', 'inet', 'cut'])
  }

  /** What runs in them must have ended. */
  remove(): void {
    for (const machine of [...this.#machines, 'hub']) {
      try {
        run('ip', ['netns', 'del', this.#name(machine)])
      } catch {
        // It was not made, after an error in the middle.
      }
    }
  }
}

function within(namespace: string, command: string, args: readonly string[]): void {
  run('ip', ['netns', 'exec', namespace, command, ...args])
}

function run(command: string, args: readonly string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
