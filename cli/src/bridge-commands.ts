/** `robust bridge ...`: names and flags. What they do is in commands/bridge.ts. */
import type { Command } from 'commander'
import { type Wiring, withCommon } from './cluster-commands.ts'
import type { BridgeOptions } from './commands/bridge.ts'
import { withPlacement } from './config-commands.ts'

type Options = BridgeOptions & { readonly output?: 'table' | 'json' }
type Bridges = typeof import('./commands/bridge.ts')

const bridges = (): Promise<Bridges> => import('./commands/bridge.ts')

export function addBridgeCommands(program: Command, wiring: Wiring): void {
  const bridge = program.command('bridge').description('to and from other MQTT brokers')
  addAdd(bridge, wiring)
  const { act } = wiring
  const plain = { list: 'bridgeList', status: 'bridgeStatus' } as const
  const descriptions = {
    list: 'every bridge, without passwords',
    status:
      'which broker runs each, how it is, what it carried; exits with 1 unless all are connected',
  }
  for (const [name, run] of Object.entries(plain)) {
    withPlacement(withCommon(bridge.command(name)))
      .description(descriptions[name as keyof typeof plain])
      .action((options: Options) =>
        act(options, async (context) => (await bridges())[run](context, options)),
      )
  }
  const named = { show: 'bridgeShow', remove: 'bridgeRemove' } as const
  for (const [name, run] of Object.entries(named)) {
    withPlacement(withCommon(bridge.command(name)))
      .description(
        name === 'show' ? 'one bridge, without its password' : 'it ends, with its session',
      )
      .argument('<bridge>')
      .action((target: string, options: Options) =>
        act(options, async (context) => (await bridges())[run](context, target, options)),
      )
  }
}

function addAdd(bridge: Command, { act }: Wiring): void {
  const collect = (value: string, before: readonly string[] = []) => [...before, value]
  withPlacement(withCommon(bridge.command('add')))
    .description('begins at once, and goes on wherever its broker dies')
    .argument('<bridge>', 'its name')
    .argument('<url>', 'mqtt://HOST[:PORT] or mqtts://HOST[:PORT]')
    .option('--in <rule>', "'FILTER [QOS [PREFIX]]': from there, put below PREFIX here", collect)
    .option('--out <rule>', "'FILTER [QOS [PREFIX]]': to there, put below PREFIX there", collect)
    .option('--user <user>', 'at the other side')
    .option('--password <text>', 'visible to others on this machine: better from a file')
    .option('--password-file <file>')
    .option('--ca <file>', 'PEM authorities that the other certificate is checked by')
    .option('--insecure', 'whatever its certificate is')
    .option('--protocol <version>', '5 or 3.1.1 (5)')
    .option('--client-id <id>', 'at the other side (robust-bridge-NAME)')
    .option('--keep-alive <s>', '(60)')
    .option('--replace', 'instead of the one that is there; what waits for the other side stays')
    .action((...given: [string, string, Options]) => {
      const [name, url, options] = given
      return act(options, async (context) =>
        (await bridges()).bridgeAdd(context, { name, url }, options),
      )
    })
}
