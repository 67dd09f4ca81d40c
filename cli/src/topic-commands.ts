/** `robust topic ...`: the names and flags of its commands. What they do is in commands/topic.ts. */
import { type Command, Option } from 'commander'
import { collect, integer, type Wiring, withCommon } from './cluster-commands.ts'
import type { ReadOptions, TopicOptions } from './commands/topic.ts'
import { withPlacement } from './config-commands.ts'

type Options = TopicOptions & { readonly output?: 'table' | 'json' }

const NAME = 'an address, for example telemetry or plant/line-1'

export function addTopicCommands(program: Command, wiring: Wiring): void {
  const topic = program.command('topic').description('logs that keep what is published')
  addLooks(topic, wiring)
  addChanges(topic, wiring)
}

function addLooks(topic: Command, { act }: Wiring): void {
  withPlacement(withCommon(topic.command('list')))
    .description('every topic')
    .action((options: Options) =>
      act(options, async (context) => {
        const { topicList } = await import('./commands/topic.ts')
        return topicList(context, options)
      }),
    )
  withPlacement(withCommon(topic.command('describe')))
    .description('settings and partitions: owner, offsets, size, rates')
    .argument('<topic>', NAME)
    .action((name: string, options: Options) =>
      act(options, async (context) => {
        const { topicDescribe } = await import('./commands/topic.ts')
        return topicDescribe(context, name, options)
      }),
    )
  withPlacement(withCommon(topic.command('read')))
    .description('records of a partition, for people')
    .argument('<topic>', NAME)
    .option('--partition <number>', '(0)', integer(0, 9_999))
    .option('--from <offset>', 'the first one (0)', integer(0, Number.MAX_SAFE_INTEGER))
    .option('--max <count>', 'records (100)', integer(1, 10_000))
    .action((name: string, options: Options & ReadOptions) =>
      act(options, async (context) => {
        const { topicRead } = await import('./commands/topic.ts')
        return topicRead(context, name, options)
      }),
    )
}

function addChanges(topic: Command, { act }: Wiring): void {
  withSettings(withPlacement(withCommon(topic.command('create'))))
    .description('a topic keeps what is published to its address')
    .argument('<topic>', NAME)
    .option('--partitions <count>', '(1)', integer(1, 10_000))
    .action((name: string, options: Options) =>
      act(options, async (context) => {
        const { topicCreate } = await import('./commands/topic.ts')
        return topicCreate(context, name, options)
      }),
    )
  withSettings(withPlacement(withCommon(topic.command('alter'))))
    .description('change what it captures and how it keeps it, or give it more partitions')
    .argument('<topic>', NAME)
    .option('--partitions <count>', 'as many as it has, or more', integer(1, 10_000))
    .option('--unset <name>', 'a setting that is to be as usual again; may be repeated', collect)
    .action((name: string, options: Options) =>
      act(options, async (context) => {
        const { topicAlter } = await import('./commands/topic.ts')
        return topicAlter(context, name, options)
      }),
    )
  withPlacement(withCommon(topic.command('delete')))
    .description('the topic and all its records')
    .argument('<topic>', NAME)
    .action((name: string, options: Options) =>
      act(options, async (context) => {
        const { topicDelete } = await import('./commands/topic.ts')
        return topicDelete(context, name, options)
      }),
    )
}

function withSettings(command: Command): Command {
  return command
    .option('--capture <filter>', 'keep what is published there too; may be repeated', collect)
    .option(
      '--set <setting>',
      'NAME=VALUE, for example retention-ms=60000, or null for no limit; may be repeated',
      collect,
    )
    .addOption(new Option('--config <setting>', 'as --set').argParser(collect).hideHelp())
}
