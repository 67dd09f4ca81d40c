/** `robust chaos ...`: names and flags. What they do is in commands/chaos.ts. */
import type { Command } from 'commander'
import { duration, integer, type Wiring, withCommon, withOutput } from './cluster-commands.ts'
import type { ChaosOptions } from './commands/chaos.ts'
import type { Format } from './output.ts'

type Options = ChaosOptions & { readonly output?: Format }

export function addChaosCommands(program: Command, { act }: Wiring): void {
  const chaos = program.command('chaos').description('break a cluster of this machine on purpose')
  withRun(chaos.command('run'))
    .description(
      'clients of every dialect work while faults come; exit code 1 when a promise broke, 75 when a fault could not be inflicted',
    )
    .argument('<file>', 'a scenario: a file, or a name of robust chaos list')
    .option('--seed <n>', 'which faults, in which order (a new one)', integer(0, 2 ** 32 - 1))
    .option('--duration <time>', 'instead of the scenario’s, like 30s or 2m', duration)
    .action((file: string, options: Options) =>
      act(options, async (context) => {
        const { chaosRun } = await import('./commands/chaos.ts')
        return chaosRun(context, file, options)
      }),
    )
  withRun(chaos.command('replay'))
    .description('the same faults in the same order as in a report')
    .argument('<report>', 'what run --report has written')
    .action((report: string, options: Options) =>
      act(options, async (context) => {
        const { chaosReplay } = await import('./commands/chaos.ts')
        return chaosReplay(context, report, options)
      }),
    )
  withOutput(chaos.command('list'))
    .description('the scenarios that come with it')
    .action((options: Options) =>
      act(options, async (context) => {
        const { chaosList } = await import('./commands/chaos.ts')
        return chaosList(context)
      }),
    )
}

function withRun(command: Command): Command {
  return withCommon(command)
    .option('--report <file>', 'write all that was done and found, as JSON')
    .option('--clients <count>', 'of each workload (4)', integer(1, 1000))
}
