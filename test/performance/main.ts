// The benchmark: our broker, mosquitto and aedes one after the other on the same machine with the
// same load program, several rounds, medians and ratios. What each figure means is in scenarios.ts.
// The broker is pinned to core 0 and the load to core 1 where taskset and two cores exist. Exits 1
// when a broker did not start or lost a message, 64 for a wrong command line.
//
// Rounds are interleaved (round 1 of all brokers, then round 2), so that a machine that gets slower
// or faster meanwhile does so for all of them. Figures of different runs are not comparable; ratios
// of one run are.

import {
  BrokerError,
  type BrokerName,
  pinTo,
  type RunningBroker,
  startBroker,
  stopAllBrokers,
} from './brokers.ts'
import { buildLoadProgram, LoadError, runLoad } from './load-program.ts'
import { type Options, parseOptions, USAGE, UsageError } from './options.ts'
import { formatTable, type Measurement, summarize } from './report.ts'
import type { Scenario } from './scenarios.ts'

interface Run {
  options: Options
  program: string
  measurements: Measurement[]
  errors: string[]
  /** Brokers that did not start are not tried again. */
  absent: Set<BrokerName>
  active: RunningBroker | undefined
}

/** Benchmarks that are programs of their own. */
const OTHERS: Readonly<Record<string, (args: readonly string[]) => Promise<number>>> = {
  'log-tasks': async () => (await import('./log-tasks.ts')).logTasks(),
  placement: async (args) => {
    stopOnSignal()
    return (await import('./placement-compare.ts')).placementCompare(args)
  },
  'placement-scale': async () => (await import('./placement-scale.ts')).placementScale(),
  'two-brokers': async () => (await import('./two-brokers.ts')).twoBrokers(),
  kafka: async (args) => (await import('./kafka/main.ts')).benchKafka(args),
  sqs: async (args) => (await import('./sqs/main.ts')).benchSqs(args),
  queues: async (args) => (await import('./queues/main.ts')).benchQueues(args),
  storage: async (args) => (await import('./storage/main.ts')).benchStorage(args),
}

async function main(): Promise<number> {
  const other = OTHERS[process.argv[2] ?? '']
  if (other !== undefined) return other(process.argv.slice(3))
  const options = parseOptions(process.argv.slice(2))
  const run: Run = {
    options,
    program: await buildLoadProgram(),
    measurements: [],
    errors: [],
    absent: new Set(),
    active: undefined,
  }
  stopOnSignal()
  for (let round = 1; round <= options.rounds; round++) {
    for (const name of options.brokers) await measureBroker(run, name, round)
  }
  const figures = summarize(run.measurements)
  if (options.output === 'json') {
    console.log(JSON.stringify({ rounds: options.rounds, figures, errors: run.errors }, null, 2))
  } else {
    console.log(formatTable(figures, options.brokers))
    for (const error of run.errors) console.log(`error: ${error}`)
  }
  return run.errors.length === 0 ? 0 : 1
}

/** One broker, all scenarios of one round. */
async function measureBroker(run: Run, name: BrokerName, round: number): Promise<void> {
  const fresh = run.options.scenarios.filter((scenario) => scenario.fresh)
  const shared = run.options.scenarios.filter((scenario) => !scenario.fresh)
  for (const group of [...fresh.map((scenario) => [scenario]), shared]) {
    if (group.length > 0 && !run.absent.has(name)) await measureGroup(run, { name, round, group })
  }
}

/** Scenarios that share one start of the broker. */
async function measureGroup(
  run: Run,
  what: { name: BrokerName; round: number; group: Scenario[] },
): Promise<void> {
  const { name, round, group } = what
  try {
    const persistent = group.some((scenario) => scenario.persistent === true)
    run.active = await startBroker(name, { ...run.options, persistent })
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    run.errors.push(error.message)
    run.absent.add(name)
    return
  }
  try {
    for (const scenario of group) {
      progress(`round ${round} of ${run.options.rounds}: ${name}, ${scenario.name}`)
      await measureScenario(run, { name, round, scenario })
    }
  } finally {
    await run.active.stop()
    run.active = undefined
  }
}

async function measureScenario(
  run: Run,
  what: { name: BrokerName; round: number; scenario: Scenario },
): Promise<void> {
  const { name, round, scenario } = what
  if (run.active === undefined) return
  try {
    const result = await runLoad(run.program, scenario, {
      port: run.active.port,
      pids: await run.active.pids(),
      seconds: run.options.seconds,
      prefix: pinTo(1),
    })
    run.measurements.push({ scenario, broker: name, round, result })
  } catch (error) {
    if (!(error instanceof LoadError)) throw error
    run.errors.push(`${name}, ${scenario.name}, round ${round}: ${error.message}`)
  }
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  else process.stderr.write(`${text}\n`)
}

/** An interrupted run leaves no broker behind. */
function stopOnSignal(): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      void stopAllBrokers().finally(() => process.exit(130))
    })
  }
}

try {
  process.exitCode = await main()
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`${error.message}\n\n${USAGE}`)
    process.exitCode = 64
  } else if (error instanceof LoadError) {
    console.error(error.message)
    process.exitCode = 1
  } else {
    throw error
  }
}
