/** `robust mqtt ...` and `robust ban ...`: names and flags. What they do is in commands/named-rules.ts. */
import type { Command } from 'commander'
import { type Wiring, withCommon } from './cluster-commands.ts'
import type { AutoSubscriptionOptions, BanOptions, RewriteOptions } from './commands/named-rules.ts'
import { withPlacement } from './config-commands.ts'

type Output = { readonly output?: 'table' | 'json' }
type Options = BanOptions & Output
type Rules = typeof import('./commands/named-rules.ts')

const rules = (): Promise<Rules> => import('./commands/named-rules.ts')

export function addRuleCommands(program: Command, wiring: Wiring): void {
  const mqtt = program.command('mqtt').description('what MQTT clients are given without asking')
  const auto = mqtt.command('auto-subscription').description('subscriptions of every client')
  addAutoSubscriptions(auto, wiring)
  addListAndDelete(auto, 'auto-subscription', wiring)
  const rewrite = mqtt.command('rewrite').description('other names for topics')
  addRewrites(rewrite, wiring)
  addListAndDelete(rewrite, 'topic-rewrite', wiring)
  addBans(program.command('ban').description('who may not connect'), wiring)
}

function addAutoSubscriptions(auto: Command, { act }: Wiring): void {
  withPlacement(withCommon(auto.command('add')))
    .description('of clients that connect from then on')
    .argument('<topic>', 'a filter; the levels %u and %c are the user and the client id')
    .option('--qos <qos>', '0, 1 or 2 (0)')
    .option('--no-local', 'not what the client itself publishes')
    .option('--retain-as-published', 'messages keep their flag')
    .option('--retain-handling <n>', '0 retained messages, 1 with a new subscription, 2 none (0)')
    .action((topic: string, given: AutoSubscriptionOptions & { local?: boolean } & Output) =>
      act(given, async (context) => {
        const options = { ...given, noLocal: given.local === false }
        return (await rules()).autoSubscriptionAdd(context, topic, options)
      }),
    )
}

function addRewrites(rewrite: Command, { act }: Wiring): void {
  withPlacement(withCommon(rewrite.command('add')))
    .description('the first rule that fits counts')
    .argument('<action>', 'publish, subscribe or all')
    .argument('<filter>', 'that the topic fits; %c and %u are names')
    .argument('<target>', '$1 to $9 are what the wildcards stand for; %c and %u are names')
    .option('--order <n>', 'lower ones are tried first (100)')
    .action((...given: [string, string, string, RewriteOptions & Output]) => {
      const [action, filter, target, options] = given
      return act(options, async (context) =>
        (await rules()).rewriteAdd(context, { action, filter, target }, options),
      )
    })
}

function addListAndDelete(
  command: Command,
  kind: 'auto-subscription' | 'topic-rewrite',
  { act }: Wiring,
): void {
  withPlacement(withCommon(command.command('list')))
    .description('every rule')
    .action((options: Options) =>
      act(options, async (context) => (await rules()).ruleList(context, kind, options)),
    )
  withPlacement(withCommon(command.command('delete')))
    .description('a rule goes')
    .argument('<rule>', 'its id, as list shows it')
    .action((id: string, options: Options) =>
      act(options, async (context) => (await rules()).ruleDelete(context, { kind, id }, options)),
    )
}

function addBans(ban: Command, { act }: Wiring): void {
  withPlacement(withCommon(ban.command('add')))
    .description('who is connected now is disconnected')
    .argument('<kind>', 'client, user or address')
    .argument('<name>', 'client id, user name, or address such as 10.0.0.7 or 10.0.0.0/8')
    .option('--for-seconds <s>', 'until then (for ever)')
    .option('--reason <text>', 'for those who read the list')
    .action((...given: [string, string, Options]) => {
      const [kind, name, options] = given
      return act(options, async (context) =>
        (await rules()).banAdd(context, { kind, name }, options),
      )
    })
  withPlacement(withCommon(ban.command('list')))
    .description('every ban')
    .action((options: Options) =>
      act(options, async (context) => (await rules()).ruleList(context, 'ban', options)),
    )
  withPlacement(withCommon(ban.command('remove')))
    .description('takes a ban back')
    .argument('<kind>', 'client, user or address')
    .argument('<name>')
    .action((...given: [string, string, Options]) => {
      const [kind, name, options] = given
      return act(options, async (context) =>
        (await rules()).banRemove(context, { kind, name }, options),
      )
    })
}
