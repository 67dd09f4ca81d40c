/** `robust placement ...`: names and flags of the commands about the Placement Center's own nodes. */
import type { Command } from 'commander'
import { type Wiring, withCommon, withTimeout } from './cluster-commands.ts'
import type { AddOptions, PlacementOptions } from './commands/placement.ts'
import type { SnapshotOptions } from './commands/placement-snapshot.ts'
import { withPlacement } from './config-commands.ts'

type Output = { readonly output?: 'table' | 'json' }
type Options = PlacementOptions & Output

const NODE = 'for example placement-4'

export function addPlacementCommands(program: Command, wiring: Wiring): void {
  const center = program.command('placement').description('the nodes of the Placement Center')
  addLooks(center, wiring)
  addChanges(center, wiring)
  addKeeping(center, wiring)
}

function addLooks(center: Command, { act }: Wiring): void {
  withPlacement(withCommon(center.command('status')))
    .description(
      'leader, term, and how far each node is; exit code 0 healthy, 1 degraded, 2 no leader',
    )
    .action((options: Options) =>
      act(options, async (context) => {
        const { placementStatus } = await import('./commands/placement.ts')
        return placementStatus(context, options)
      }),
    )
  withPlacement(withCommon(center.command('members')))
    .description('ids, addresses, who votes, and the data folder of each')
    .action((options: Options) =>
      act(options, async (context) => {
        const { placementMembers } = await import('./commands/placement.ts')
        return placementMembers(context, options)
      }),
    )
}

function addChanges(center: Command, { act }: Wiring): void {
  withPlacement(withTimeout(center.command('add')))
    .description('let in a node that was started with --join; it votes once it has caught up')
    .argument('<member>', 'ID=HOST:PORT')
    .option('--learner', 'without a vote; see promote, and the setting placement.autopilot-promote')
    .action((member: string, options: AddOptions & Output) =>
      act(options, async (context) => {
        const { placementAdd } = await import('./commands/placement.ts')
        return placementAdd(context, member, options)
      }),
    )
  withPlacement(withTimeout(center.command('promote')))
    .description('give a learner its vote, as soon as it has caught up')
    .argument('<node>', NODE)
    .action((node: string, options: Options) =>
      act(options, async (context) => {
        const { placementPromote } = await import('./commands/placement.ts')
        return placementPromote(context, node, options)
      }),
    )
  withPlacement(withTimeout(center.command('remove')))
    .description('take a node out for good, running or not')
    .argument('<node>', NODE)
    .action((node: string, options: Options) =>
      act(options, async (context) => {
        const { placementRemove } = await import('./commands/placement.ts')
        return placementRemove(context, node, options)
      }),
    )
  withPlacement(withCommon(center.command('transfer')))
    .description('hand the leadership over')
    .argument('[node]', `${NODE} (the one with the most of the log)`)
    .action((node: string | undefined, options: Options) =>
      act(options, async (context) => {
        const { placementTransfer } = await import('./commands/placement.ts')
        return placementTransfer(context, node, options)
      }),
    )
}

function addKeeping(center: Command, { act }: Wiring): void {
  withPlacement(withCommon(center.command('snapshot')))
    .description('each node takes a snapshot now; with --out, a backup of all metadata')
    .option('--out <file>', 'where the backup goes')
    .action((options: SnapshotOptions & Output) =>
      act(options, async (context) => {
        const { placementSnapshot } = await import('./commands/placement-snapshot.ts')
        return placementSnapshot(context, options)
      }),
    )
}
