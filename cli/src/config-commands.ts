/** `robust config ...`: the names and flags of its commands. What they do is in commands/config.ts. */
import type { Command } from 'commander'
import { integer, type Wiring, withCommon } from './cluster-commands.ts'
import type { ConfigOptions } from './commands/config.ts'

type Options = ConfigOptions & { readonly output?: 'table' | 'json' }

const SETTING = 'for example rebalance.band-percent'

export function addConfigCommands(program: Command, wiring: Wiring): void {
  const config = program.command('config').description('settings that are changed at run time')
  addLooks(config, wiring)
  addChanges(config, wiring)
}

function addLooks(config: Command, { act }: Wiring): void {
  withPlacement(withCommon(config.command('list')))
    .description('every setting with its value')
    .action((options: Options) =>
      act(options, async (context) => {
        const { configList } = await import('./commands/config.ts')
        return configList(context, options)
      }),
    )
  withPlacement(withCommon(config.command('get')))
    .description('the value of a setting')
    .argument('<setting>', SETTING)
    .action((name: string, options: Options) =>
      act(options, async (context) => {
        const { configGet } = await import('./commands/config.ts')
        return configGet(context, name, options)
      }),
    )
  withCommon(config.command('describe'))
    .description('what a setting means, and which values it takes')
    .argument('<setting>', SETTING)
    .action((name: string, options: Options) =>
      act(options, async (context) => {
        const { configDescribe } = await import('./commands/config.ts')
        return configDescribe(context, name)
      }),
    )
  withPlacement(withCommon(config.command('history')))
    .description('the versions of a setting that are kept')
    .argument('<setting>', SETTING)
    .action((name: string, options: Options) =>
      act(options, async (context) => {
        const { configHistory } = await import('./commands/config.ts')
        return configHistory(context, name, options)
      }),
    )
}

function addChanges(config: Command, { act }: Wiring): void {
  withExpected(withPlacement(withCommon(config.command('set'))))
    .description('change a setting; brokers and the Placement Center follow at once')
    .argument('<setting>', SETTING)
    .argument('<value>', 'a number, true, false or a word')
    .action((name: string, value: string, options: Options) =>
      act(options, async (context) => {
        const { configSet } = await import('./commands/config.ts')
        return configSet(context, { name, value }, options)
      }),
    )
  withExpected(withPlacement(withCommon(config.command('unset'))))
    .description('back to the default')
    .argument('<setting>', SETTING)
    .action((name: string, options: Options) =>
      act(options, async (context) => {
        const { configUnset } = await import('./commands/config.ts')
        return configUnset(context, name, options)
      }),
    )
  withExpected(withPlacement(withCommon(config.command('rollback'))))
    .description('back to an older version')
    .argument('<setting>', SETTING)
    .option('--to <version>', 'of the history (the one before the newest)', version)
    .action((name: string, options: Options & { to?: number }) =>
      act(options, async (context) => {
        const { configRollback } = await import('./commands/config.ts')
        return configRollback(context, name, options)
      }),
    )
}

const version = integer(0, Number.MAX_SAFE_INTEGER)

function withExpected(command: Command): Command {
  const text = 'change it only if this is its version now (0: it is not set)'
  return command.option('--expect-version <version>', text, version)
}

export function withPlacement(command: Command): Command {
  return command.option(
    '--placement <list>',
    'HOST:PORT,... of a cluster that is not of this machine',
  )
}
