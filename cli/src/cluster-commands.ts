/** `robust cluster ...`: the names and flags of its commands. What they do is in commands/. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { DownOptions } from './commands/cluster-down.ts'
import type { EventsOptions } from './commands/cluster-events.ts'
import type { NetOptions, PartitionOptions } from './commands/cluster-links.ts'
import type { LogsOptions } from './commands/cluster-logs.ts'
import type { UpOptions } from './commands/cluster-up.ts'
import type { Context } from './context.ts'
import type { Format } from './output.ts'

/** Runs a command with the context that its flags ask for, and keeps its exit code. */
export type Act = (
  flags: { readonly output?: Format },
  command: (context: Context) => Promise<number> | number,
) => Promise<void>

export interface Wiring {
  readonly act: Act
  readonly isTerminal: boolean
}

interface Common {
  readonly name?: string
  readonly output?: Format
}

const NODE = 'broker-1, placement-2, storage-1, or leader'
const TIMEOUT_SECONDS = 30

export function addClusterCommands(program: Command, wiring: Wiring): void {
  const cluster = program.command('cluster').description('a cluster on this machine')
  addUp(cluster, wiring)
  addDown(cluster, wiring)
  addLooks(cluster, wiring)
  addSignals(cluster, wiring)
  addChanges(cluster, wiring)
  addLinks(cluster, wiring)
}

function addUp(cluster: Command, { act }: Wiring): void {
  withCommon(cluster.command('up'))
    .description('start a cluster, or what is missing of it; returns when it is ready')
    .option('-n, --nodes <count>', 'brokers (3)', integer(1, 50))
    .option('--placement <count|list>', 'Placement Center nodes (3), or HOST:PORT,... of others')
    .option(
      '--storage <url>',
      'leveldb:PATH, memory:, redis://HOST:PORT or robust://HOST:PORT (leveldb in the data folder)',
    )
    .addOption(
      new Option(
        '--durability <level>',
        'strict: refuse storage that could lose what it acknowledged',
      ).choices(['strict', 'as-configured']),
    )
    .option('--data <dir>', 'data folder (beside the state file)')
    .option('--port-offset <k>', 'added to every standard port (0)', integer(0, 65_000))
    .option('--shards <count>', 'shards of the cluster, fixed for ever (64)', integer(1, 16_384))
    .addOption(new Option('--preset <preset>', 'time-outs (dev)').choices(['dev', 'production']))
    .option(
      '--breakable',
      'links, disks and clocks of nodes can be broken: cluster partition, net, heal; chaos run',
    )
    .option('--set <setting>', 'ROLE.FLAG=VALUE[@NODE], may be repeated', collect)
    .option('--timeout <seconds>', 'until it must be ready', integer(1, 3600), TIMEOUT_SECONDS)
    .option('--foreground', 'stay; Ctrl-C takes the cluster down')
    .action((options: UpOptions & Common) =>
      act(options, async (context) => {
        const { clusterUp } = await import('./commands/cluster-up.ts')
        return clusterUp(context, options)
      }),
    )
}

function addDown(cluster: Command, { act }: Wiring): void {
  withCommon(cluster.command('down'))
    .description('stop every process; the data stays')
    .option('--purge', 'remove data, logs and state too')
    .action((options: DownOptions & Common) =>
      act(options, async (context) => {
        const { clusterDown } = await import('./commands/cluster-down.ts')
        return clusterDown(context, options)
      }),
    )
}

function addLooks(cluster: Command, { act, isTerminal }: Wiring): void {
  withCommon(cluster.command('status'))
    .description('nodes, roles, shards, load; exit code 0 healthy, 1 degraded, 2 critical')
    .action((options: Common) =>
      act(options, async (context) => {
        const { clusterStatus } = await import('./commands/cluster-status.ts')
        return clusterStatus(context, options)
      }),
    )
  withCommon(cluster.command('events'))
    .description('what the Placement Center decided, when and why')
    .option('--limit <count>', 'newest events only; 0: all', integer(0, 1_000_000), 50)
    .option('-f, --follow', 'go on as they happen')
    .action((options: EventsOptions & Common) =>
      act(options, async (context) => {
        const { showEvents } = await import('./commands/cluster-events.ts')
        return showEvents(context, options)
      }),
    )
  withName(cluster.command('logs'))
    .description('the end of a node’s log')
    .argument('<node>', NODE)
    .option('-n, --lines <count>', 'how many', integer(0, 1_000_000), 50)
    .option('-f, --follow', 'go on as they are written')
    .action((node: string, options: Omit<LogsOptions, 'pretty'>) =>
      act({}, async (context) => {
        const { showLogs } = await import('./commands/cluster-logs.ts')
        return showLogs(context, node, { ...options, pretty: isTerminal })
      }),
    )
  withOutput(cluster.command('list'))
    .description('the clusters of this machine')
    .action((options: Common) =>
      act(options, async (context) => {
        const { clusterList } = await import('./commands/cluster-list.ts')
        return clusterList(context)
      }),
    )
}

function addSignals(cluster: Command, { act }: Wiring): void {
  withCommon(cluster.command('kill'))
    .description('end a node as a crash would')
    .argument('<node>', NODE)
    .option('--signal <signal>', 'another signal', 'SIGKILL')
    .action((node: string, options: Common & { signal: string }) =>
      act(options, async (context) => {
        const { killNode } = await import('./commands/cluster-nodes.ts')
        return killNode(context, node, options)
      }),
    )
  withCommon(cluster.command('pause'))
    .description('freeze a node (SIGSTOP)')
    .argument('<node>', NODE)
    .action((node: string, options: Common) =>
      act(options, async (context) => {
        const { pauseNode } = await import('./commands/cluster-nodes.ts')
        return pauseNode(context, node, options)
      }),
    )
  withCommon(cluster.command('resume'))
    .description('let a frozen node go on (SIGCONT)')
    .argument('<node>', NODE)
    .action((node: string, options: Common) =>
      act(options, async (context) => {
        const { resumeNode } = await import('./commands/cluster-nodes.ts')
        return resumeNode(context, node, options)
      }),
    )
}

function addChanges(cluster: Command, { act }: Wiring): void {
  withTimeout(cluster.command('restart'))
    .description('stop a node in order and start it again; starts one that is stopped')
    .argument('<node>', NODE)
    .action((node: string, options: Common & { timeout: number }) =>
      act(options, async (context) => {
        const { restartNode } = await import('./commands/cluster-nodes.ts')
        return restartNode(context, node, options)
      }),
    )
  withTimeout(cluster.command('drain'))
    .description('move all shards and clients away from a broker')
    .argument('<node>', 'a broker')
    .option(
      '--deadline <time>',
      '30s, 500ms, 2m: then shards are taken and clients closed',
      duration,
    )
    .action((node: string, options: Common & { timeout: number; deadline?: number }) =>
      act(options, async (context) => {
        const { drainNode } = await import('./commands/cluster-drain.ts')
        return drainNode(context, node, options)
      }),
    )
  withCommon(cluster.command('undrain'))
    .description('let a drained broker own shards and take clients again')
    .argument('<node>', 'a broker')
    .action((node: string, options: Common) =>
      act(options, async (context) => {
        const { undrainNode } = await import('./commands/cluster-drain.ts')
        return undrainNode(context, node, options)
      }),
    )
  withTimeout(cluster.command('move-shard'))
    .description('move one shard to another broker')
    .argument('<shard>', 'its number', integer(0, 16_383))
    .option('--to <node>', 'a broker (the one with the fewest shards of the others)')
    .action((shard: number, options: Common & { timeout: number; to?: string }) =>
      act(options, async (context) => {
        const { moveOneShard } = await import('./commands/cluster-move-shard.ts')
        return moveOneShard(context, shard, options)
      }),
    )
  withTimeout(cluster.command('add-node'))
    .description('start one more node')
    .addOption(
      new Option('--role <role>', 'what it shall be')
        .choices(['broker', 'placement'])
        .default('broker'),
    )
    .action((options: Common & { timeout: number; role: 'broker' | 'placement' }) =>
      act(options, async (context) => {
        const { addNode } = await import('./commands/cluster-add-node.ts')
        return addNode(context, options)
      }),
    )
}

function addLinks(cluster: Command, { act }: Wiring): void {
  withCommon(cluster.command('partition'))
    .description('cut nodes off from others (a cluster that was made --breakable)')
    .argument('<nodes>', `one or more of ${NODE}, with commas between them`)
    .option('--from <nodes>', 'from these (all others)')
    .option('--one-way', 'what they send is lost, what they are sent arrives')
    .option('--for <time>', '30s, 500ms, 2m: then heal what was cut (until heal)', duration)
    .action((nodes: string, options: PartitionOptions & Common) =>
      act(options, async (context) => {
        const { partition } = await import('./commands/cluster-links.ts')
        return partition(context, nodes, options)
      }),
    )
  withCommon(cluster.command('net'))
    .description('slow links between nodes or make them lose; without a flag, show what holds')
    .option('--from <node>', 'who sends, * for all', '*')
    .option('--to <node>', 'to whom, * for all', '*')
    .option('--delay <time>', 'of everything, like 50ms', duration)
    .option('--jitter <time>', 'up to so much more, at random', duration)
    .option('--loss <percent>', 'pieces that TCP has to send again', integer(0, 100))
    .action((options: NetOptions & Common) =>
      act(options, async (context) => {
        const { disturb } = await import('./commands/cluster-links.ts')
        return disturb(context, options)
      }),
    )
  withCommon(cluster.command('heal'))
    .description('make every link whole again')
    .action((options: Common) =>
      act(options, async (context) => {
        const { heal } = await import('./commands/cluster-links.ts')
        return heal(context, options)
      }),
    )
}

export function withCommon(command: Command): Command {
  return withOutput(withName(command))
}

export function withTimeout(command: Command): Command {
  const seconds = integer(1, 3600)
  return withCommon(command).option(
    '--timeout <seconds>',
    'until it must be done',
    seconds,
    TIMEOUT_SECONDS,
  )
}

export function withName(command: Command): Command {
  return command.option('--name <cluster>', 'which cluster (the current one, else local)')
}

export function withOutput(command: Command): Command {
  const option = new Option('-o, --output <format>', 'how results are shown')
  return command.addOption(option.choices(['table', 'json']).default('table'))
}

export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`)
  }
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** To milliseconds. */
export function duration(text: string): number {
  const [, number, unit = 's'] = /^(\d{1,9})(ms|s|m|h)?$/.exec(text) ?? []
  const ms = Number(number) * (UNITS[unit] ?? Number.NaN)
  if (ms > 0 && ms <= DAY_MS) return ms
  throw new InvalidArgumentError('It is a time up to 24h, like 30s, 500ms or 2m.')
}

const DAY_MS = 86_400_000

export function collect(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text]
}
