/** `robust group ...`: the names and flags of its commands. What they do is in commands/group.ts. */
import type { Command } from 'commander'
import { integer, type Wiring, withCommon } from './cluster-commands.ts'
import type { ListOptions } from './commands/clients.ts'
import type { SeekOptions } from './commands/group.ts'
import { withPlacement } from './config-commands.ts'

type Options = ListOptions & { readonly output?: 'table' | 'json' }

const NAME = 'the group.id of its consumers'

export function addGroupCommands(program: Command, wiring: Wiring): void {
  const group = program.command('group').description('groups of consumers, and how far they are')
  addLooks(group, wiring)
  addChanges(group, wiring)
}

function addLooks(group: Command, { act }: Wiring): void {
  withPlacement(withCommon(group.command('list')))
    .description('every group, with its state and the broker that coordinates it')
    .option('--filter <text>', 'only names that contain it')
    .option('--after <name>', 'only names that sort after it')
    .option('--limit <count>', '(100)', integer(1, 10_000))
    .action((options: Options) =>
      act(options, async (context) => {
        const { groupList } = await import('./commands/group.ts')
        return groupList(context, options)
      }),
    )
  withPlacement(withCommon(group.command('describe')))
    .description('members, what each partition is read by, and its lag')
    .argument('<group>', NAME)
    .action((name: string, options: Options) =>
      act(options, async (context) => {
        const { groupDescribe } = await import('./commands/group.ts')
        return groupDescribe(context, name, options)
      }),
    )
}

function addChanges(group: Command, { act }: Wiring): void {
  withPlacement(withCommon(group.command('seek')))
    .description('set where a group without members reads on')
    .argument('<group>', `${NAME}; it is made if there is none`)
    .requiredOption('--topic <topic>', 'of this topic')
    .option('--partition <number>', 'only these; may be repeated', collectNumber)
    .requiredOption('--to <place>', 'earliest, latest, an offset, or a time (2026-01-31T12:00:00Z)')
    .option('--dry-run', 'only show what would be set')
    .action((name: string, options: Options & SeekOptions) =>
      act(options, async (context) => {
        const { groupSeek } = await import('./commands/group.ts')
        return groupSeek(context, name, options)
      }),
    )
  withPlacement(withCommon(group.command('delete')))
    .description('a group without members, and what it has committed')
    .argument('<group>', NAME)
    .action((name: string, options: Options) =>
      act(options, async (context) => {
        const { groupDelete } = await import('./commands/group.ts')
        return groupDelete(context, name, options)
      }),
    )
}

function collectNumber(value: string, before: readonly number[] = []): readonly number[] {
  return [...before, integer(0, 9_999)(value)]
}
