/** `robust chaos run|replay|list`. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import {
  breaksProcesses,
  isGood,
  parseScenario,
  type Report,
  recoveryRows,
  runScenario,
  ScenarioError,
} from '@robust/chaos'
import { controlOf } from '../cluster/control.ts'
import { withoutPassword } from '../cluster/topology.ts'
import { type Context, requireCluster } from '../context.ts'
import { CliError, interrupted } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { requireFaults } from '../faults/node-faults.ts'
import { SCENARIOS } from '../installation.ts'
import { table } from '../output.ts'

export interface ChaosOptions {
  readonly name?: string
  readonly seed?: number
  /** ms */
  readonly duration?: number
  readonly report?: string
  readonly clients?: number
}

const SUFFIX = '.yaml'

/** Exit code 0: every promise was kept; 1: not; 75: kept, but not every fault could be inflicted. Throws BAD_VALUE when the scenario is not one. */
export async function chaosRun(
  context: Context,
  file: string,
  options: ChaosOptions,
): Promise<number> {
  const text = readScenario(file)
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32)
  return run(context, { text, seed }, options)
}

export function chaosReplay(
  context: Context,
  file: string,
  options: ChaosOptions,
): Promise<number> {
  const { text, seed, durationMs } = parseReport(file)
  return run(context, { text, seed }, { ...options, duration: durationMs })
}

export function chaosList({ output, format }: Context): number {
  const scenarios = readdirSync(SCENARIOS)
    .filter((name) => name.endsWith(SUFFIX))
    .map((file) => {
      const { about } = parseScenario(readFileSync(join(SCENARIOS, file), 'utf8'))
      return { name: basename(file, SUFFIX), about }
    })
  if (format === 'json') output.json(scenarios)
  else {
    const rows = scenarios.map(({ name, about }) => [name, about])
    output.print(table([{ title: 'SCENARIO' }, { title: 'WHAT HAPPENS' }], rows, output.paint))
  }
  return exitCodes.ok
}

async function run(
  context: Context,
  { text, seed }: { readonly text: string; readonly seed: number },
  options: ChaosOptions,
): Promise<number> {
  const { output, format, signal } = context
  const state = requireCluster(context, options.name)
  if (breaks(text)) requireFaults(state)
  const isTable = format === 'table'
  if (isTable) output.print(`seed ${seed}`)
  const report = await runScenario({
    ...{ text, seed, signal, control: controlOf(context, state.name) },
    storage: withoutPassword(state.storageUrl),
    ...(options.duration !== undefined && { durationMs: options.duration }),
    ...(options.clients !== undefined && { clients: options.clients }),
    say: ({ atMs, text: what }) => {
      if (isTable) output.print(`${(atMs / 1000).toFixed(1).padStart(7)} s  ${what}`)
    },
  }).catch((error: unknown) => {
    if (error instanceof ScenarioError) throw badScenario(error.message)
    throw error
  })
  if (options.report !== undefined) {
    writeFileSync(options.report, `${JSON.stringify(report, undefined, 2)}\n`)
  }
  if (isTable) printReport(context, report)
  else output.json(report)
  if (signal.aborted) throw interrupted(signal.reason)
  if (!isGood(report)) return exitCodes.failed
  return report.notInflicted.length > 0 ? exitCodes.tryAgain : exitCodes.ok
}

/** Whether disks or clocks are broken. What is no scenario is found out later. */
function breaks(text: string): boolean {
  try {
    return parseScenario(text).faults.some(breaksProcesses)
  } catch (error) {
    if (error instanceof ScenarioError) return false
    throw error
  }
}

const FINDINGS_SHOWN = 20

function printReport({ output }: Context, report: Report): void {
  const { paint } = output
  const counts = ['ACKNOWLEDGED', 'UNKNOWN', 'DELIVERED', 'AGAIN', 'FINDINGS']
  const columns = [{ title: 'WORKLOAD' }, ...counts.map((title) => ({ title, right: true }))]
  const rows = Object.entries(report.verdicts).map(([name, verdict]) => {
    const { acknowledged, unknown, delivered, redelivered, findings } = verdict
    const found = findings.length === 0 ? paint.green('0') : paint.red(String(findings.length))
    return [name, ...[acknowledged, unknown, delivered, redelivered].map(String), found]
  })
  output.print(`\n${table(columns, rows, paint)}`)
  const times = ['TIMES', 'MEDIAN', 'P95', 'WORST']
  const recovered = recoveryRows(report.recoveries).map((row) => [
    ...[row.fault, row.workload, String(row.times)],
    ...[row.medianMs, row.p95Ms, row.worstMs].map((ms) => `${Math.round(ms)} ms`),
  ])
  const head = [{ title: 'FAULT' }, { title: 'WITHOUT AN ANSWER' }]
  const right = times.map((title) => ({ title, right: true }))
  output.print(`\n${table([...head, ...right], recovered, paint)}`)
  for (const [name, { findings }] of Object.entries(report.verdicts)) {
    for (const { kind, what } of findings.slice(0, FINDINGS_SHOWN)) {
      output.print(`${paint.red(kind)} ${name}: ${what}`)
    }
    const more = findings.length - FINDINGS_SHOWN
    if (more > 0) output.print(`... and ${more} more of ${name}`)
  }
  output.print('')
  for (const { text } of report.notInflicted) output.print(`${paint.red('missed')}  ${text}`)
  output.print(conclusion(report, paint))
}

function conclusion(
  { faults, seed, ...report }: Report,
  paint: Context['output']['paint'],
): string {
  if (!isGood(report)) return `${paint.red('BROKEN')}  see above (seed ${seed})`
  const missed = report.notInflicted.length
  return missed === 0
    ? `${paint.green('kept')}  every promise, through ${faults} faults (seed ${seed})`
    : `${paint.red('INCOMPLETE')}  every promise was kept, but ${missed} of what was to be done was not (seed ${seed})`
}

function readScenario(file: string): string {
  const known = join(SCENARIOS, `${file}${SUFFIX}`)
  for (const path of [file, known]) {
    try {
      return readFileSync(path, 'utf8')
    } catch {
      // The other one.
    }
  }
  throw new CliError('BAD_VALUE', {
    message: `${file} is neither a file nor a scenario that comes with robust`,
    hint: 'robust chaos list',
    exit: exitCodes.badData,
  })
}

function parseReport(file: string): Pick<Report, 'text' | 'seed' | 'durationMs'> {
  try {
    const { text, seed, durationMs } = JSON.parse(readFileSync(file, 'utf8')) as Report
    const isReport = typeof text === 'string' && typeof seed === 'number' && durationMs > 0
    if (isReport) return { text, seed, durationMs }
    throw new Error('it is not what robust chaos run --report writes')
  } catch (error) {
    throw new CliError('BAD_VALUE', {
      message: `${file} is no report`,
      cause: error instanceof Error ? error.message : String(error),
      exit: exitCodes.badData,
    })
  }
}

function badScenario(message: string): CliError {
  return new CliError('BAD_VALUE', { message, exit: exitCodes.badData })
}
