/** `robust queue ...`: the names and flags of its commands. What they do is in commands/queue*.ts. */
import type { Command } from 'commander'
import { collect, integer, type Wiring, withCommon } from './cluster-commands.ts'
import type { ListOptions } from './commands/clients.ts'
import type { QueueOptions } from './commands/queue.ts'
import type { ReceiveOptions, RedriveOptions, SendOptions } from './commands/queue-messages.ts'
import { withPlacement } from './config-commands.ts'

type Format = { readonly output?: 'table' | 'json' }
type Definitions = typeof import('./commands/queue.ts')
type Messages = typeof import('./commands/queue-messages.ts')

const definitions = (): Promise<Definitions> => import('./commands/queue.ts')
const messages = (): Promise<Messages> => import('./commands/queue-messages.ts')
const MS_MAX = 100 * 365 * 86_400_000

export function addQueueCommands(program: Command, wiring: Wiring): void {
  const queue = program.command('queue').description('queues: each message goes to one receiver')
  addLooks(queue, wiring)
  addChanges(queue, wiring)
  addMessages(queue, wiring)
  addMoves(queue, wiring)
}

function addLooks(queue: Command, { act }: Wiring): void {
  withPlacement(withCommon(queue.command('list')))
    .description('every queue with what is in it, a page at a time')
    .option('--filter <text>', 'part of a name')
    .option('--after <name>', 'only what sorts after it, as the page before says')
    .option('--limit <count>', '(100)', integer(1, 1_000))
    .action((options: ListOptions & Format) =>
      act(options, async (context) => (await definitions()).queueList(context, options)),
    )
  named(queue, 'describe')
    .description('settings, owner, what is in it, what is being moved')
    .action((name: string, options: QueueOptions & Format) =>
      act(options, async (context) => (await definitions()).queueDescribe(context, name, options)),
    )
  named(queue, 'peek')
    .description('the next messages, without taking them')
    .option('--max <count>', '(100)', integer(1, 1_000))
    .action((name: string, options: QueueOptions & Format & { max?: number }) =>
      act(options, async (context) => (await messages()).queuePeek(context, name, options)),
    )
}

function addChanges(queue: Command, { act }: Wiring): void {
  withSettings(named(queue, 'create'))
    .description('every broker has it when this ends')
    .action((name: string, options: QueueOptions & Format) =>
      act(options, async (context) => (await definitions()).queueCreate(context, name, options)),
    )
  withSettings(named(queue, 'alter'))
    .description('change what it is bound to and how it is')
    .action((name: string, options: QueueOptions & Format) =>
      act(options, async (context) => (await definitions()).queueAlter(context, name, options)),
    )
  named(queue, 'delete')
    .description('the queue and all its messages')
    .action((name: string, options: QueueOptions & Format) =>
      act(options, async (context) => (await definitions()).queueDelete(context, name, options)),
    )
  named(queue, 'purge')
    .description('all its messages')
    .action((name: string, options: QueueOptions & Format) =>
      act(options, async (context) => (await messages()).queuePurge(context, name, options)),
    )
}

function addMessages(queue: Command, { act }: Wiring): void {
  named(queue, 'send')
    .description('put messages into it')
    .argument('<message...>', 'texts')
    .option('--header <header>', 'NAME=VALUE; may be repeated', collect)
    .option('--group <name>', 'messages of a group are ordered')
    .option('--id <text>', 'by which the queue tells a repetition')
    .option('--delay-ms <ms>', 'not to be received before', integer(0, MS_MAX))
    .option('--priority <level>', '', integer(0, 255))
    .action((name: string, texts: readonly string[], options: SendOptions & Format) =>
      act(options, async (context) =>
        (await messages()).queueSend(context, { name, messages: texts }, options),
      ),
    )
  named(queue, 'receive')
    .description('take messages, and acknowledge them when they are shown')
    .option('--max <count>', '(1)', integer(1, 1_000))
    .option('--wait <seconds>', 'for the first one (0)', integer(0, 60))
    .option(
      '--lease-ms <ms>',
      'hidden from others for so long (as the queue says)',
      integer(0, MS_MAX),
    )
    .option('--keep', 'do not acknowledge them: they come back when their leases end')
    .option('-f, --follow', 'go on until interrupted')
    .action((name: string, options: ReceiveOptions & Format) =>
      act(options, async (context) => (await messages()).queueReceive(context, name, options)),
    )
}

function addMoves(queue: Command, { act }: Wiring): void {
  withRate(named(queue, 'redrive'))
    .description('dead letters go back to the queues where they came from')
    .option('--cancel', 'end the move that is under way')
    .action((name: string, options: RedriveOptions & Format) =>
      act(options, async (context) => (await messages()).queueRedrive(context, name, options)),
    )
  withRate(named(queue, 'move'))
    .description('everything in it goes to another queue')
    .argument('<to>', 'the other queue')
    .action((name: string, to: string, options: RedriveOptions & Format) =>
      act(options, async (context) => (await messages()).queueMove(context, { name, to }, options)),
    )
}

function named(queue: Command, verb: string): Command {
  return withPlacement(withCommon(queue.command(verb))).argument('<queue>', 'for example orders')
}

function withSettings(command: Command): Command {
  return command
    .option('--bind <filter>', 'what is published there is put into it; may be repeated', collect)
    .option(
      '--config <setting>',
      'NAME=VALUE, for example lease-ms=60000; may be repeated',
      collect,
    )
}

function withRate(command: Command): Command {
  return command
    .option('--per-second <count>', 'messages at most (500)', integer(1, 1_000_000))
    .option('--detach', 'do not wait for the end')
}
