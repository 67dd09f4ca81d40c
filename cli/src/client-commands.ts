/** `robust client|session|subscription|retained ...`: names and flags. What they do is in commands/clients.ts. */
import type { Command } from 'commander'
import { integer, type Wiring, withCommon } from './cluster-commands.ts'
import type { ListOptions } from './commands/clients.ts'
import { withPlacement } from './config-commands.ts'
import type { Context } from './context.ts'

type Options = ListOptions & { readonly output?: 'table' | 'json' }
type Commands = typeof import('./commands/clients.ts')
type ListName = 'clientList' | 'sessionList' | 'subscriptionList' | 'retainedList'
type NamedName = Exclude<keyof Commands, ListName>

const commands = (): Promise<Commands> => import('./commands/clients.ts')

export function addClientCommands(program: Command, wiring: Wiring): void {
  const client = program.command('client').description('who is connected')
  addList(client, { name: 'clientList', filter: 'part of a client id' }, wiring)
  addNamed(client, { verb: 'show', name: 'clientShow', what: 'what is known of it' }, wiring)
  addNamed(client, { verb: 'kick', name: 'clientKick', what: 'ends its connection' }, wiring)

  const session = program.command('session').description('sessions that outlive connections')
  addList(session, { name: 'sessionList', filter: 'part of a client id' }, wiring)
  addNamed(session, { verb: 'show', name: 'sessionShow', what: 'what is known of it' }, wiring)
  const end = 'ends it, what is queued for it, and its connection'
  addNamed(session, { verb: 'delete', name: 'sessionDelete', what: end }, wiring)

  const subscription = program.command('subscription').description('who is subscribed to what')
  addList(
    subscription,
    { name: 'subscriptionList', filter: 'part of a client id or filter' },
    wiring,
  )

  const retained = program.command('retained').description('retained messages')
  addList(retained, { name: 'retainedList', filter: 'an MQTT filter' }, wiring)
  addNamed(retained, { verb: 'get', name: 'retainedGet', what: 'prints its payload' }, wiring)
  const forget = 'nothing is retained for it any more'
  addNamed(retained, { verb: 'delete', name: 'retainedDelete', what: forget }, wiring)
}

function addList(
  parent: Command,
  { name, filter }: { readonly name: ListName; readonly filter: string },
  { act }: Wiring,
): void {
  withPlacement(withCommon(parent.command('list')))
    .description('of the whole cluster, a page at a time')
    .option('--filter <text>', filter)
    .option('--after <name>', 'only what sorts after it, as the page before says')
    .option('--limit <count>', '(100)', integer(1, 10_000))
    .action((options: Options) =>
      act(options, async (context: Context) => (await commands())[name](context, options)),
    )
}

function addNamed(
  parent: Command,
  { verb, name, what }: { readonly verb: string; readonly name: NamedName; readonly what: string },
  { act }: Wiring,
): void {
  withPlacement(withCommon(parent.command(verb)))
    .description(what)
    .argument(name.startsWith('retained') ? '<topic>' : '<client>')
    .action((target: string, options: Options) =>
      act(options, async (context: Context) => (await commands())[name](context, target, options)),
    )
}
