// The command line of the benchmark, read once.

import { parseArgs } from 'node:util'
import { BROKER_NAMES, type BrokerName } from './brokers.ts'
import { SCENARIOS, type Scenario } from './scenarios.ts'

export const USAGE = `usage: npm run bench -- placement-scale
       npm run bench -- storage
       npm run bench -- sqs [options]
       npm run bench -- kafka [options]
       npm run bench -- queues [options]
       npm run bench -- log-tasks
       npm run bench -- two-brokers
       npm run bench -- placement [--rounds N] [--seconds S] [--tries N]
                                  [--only writes,failover,brokers]
       npm run bench -- mqtt [options]

  --rounds N          rounds; the figures are medians (default 5)
  --seconds S         counted seconds of each scenario and round (default 2)
  --scenario a,b      only these: ${SCENARIOS.map(({ name }) => name).join(', ')}
  --brokers a,b       only these: ${BROKER_NAMES.join(', ')}
  --ours "COMMAND"    shell command that starts our broker and stays in the foreground;
                      {data}, {offset} and {port} are replaced
  --ours-port PORT    MQTT port that this command listens on (default: a free one)
  -o json             figures as JSON on stdout instead of the table`

export interface Options {
  rounds: number
  seconds: number
  scenarios: Scenario[]
  brokers: BrokerName[]
  oursCommand: string
  oursPort: number | undefined
  output: 'table' | 'json'
}

/** A command line that cannot be understood; the message says why. */
export class UsageError extends Error {}

/** Throws UsageError. */
export function parseOptions(args: string[]): Options {
  const { values, positionals } = parse(args)
  if (positionals.length !== 1 || positionals[0] !== 'mqtt') {
    throw new UsageError(
      'name what to measure: mqtt, sqs, kafka, queues, storage, log-tasks, placement or placement-scale',
    )
  }
  const output = values.output ?? 'table'
  if (output !== 'table' && output !== 'json') throw new UsageError('-o takes table or json')
  return {
    rounds: positive(values.rounds ?? '5', '--rounds'),
    seconds: positive(values.seconds ?? '2', '--seconds'),
    scenarios: pick(values.scenario, SCENARIOS, ({ name }) => name),
    brokers: pick(values.brokers, [...BROKER_NAMES], (name) => name),
    oursCommand:
      values.ours ??
      'exec node cli/bin/robust.js server start --data {data} --port-offset {offset}',
    oursPort:
      values['ours-port'] === undefined ? undefined : positive(values['ours-port'], '--ours-port'),
    output,
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        scenario: { type: 'string' },
        brokers: { type: 'string' },
        ours: { type: 'string' },
        'ours-port': { type: 'string' },
        output: { type: 'string', short: 'o' },
      },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function positive(text: string, option: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value <= 0)
    throw new UsageError(`${option} takes a number above 0`)
  return value
}

function pick<Item>(
  names: string | undefined,
  all: Item[],
  nameOf: (item: Item) => string,
): Item[] {
  if (names === undefined) return all
  return names.split(',').map((name) => {
    const found = all.find((item) => nameOf(item) === name)
    if (found === undefined)
      throw new UsageError(`there is no ${name}: ${all.map(nameOf).join(', ')}`)
    return found
  })
}
