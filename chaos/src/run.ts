/** Runs a scenario: workloads go on while faults come, one after the other; then all is healed, and judged. */
import type { Verdict } from './checkers/verdict.ts'
import type { ClusterControl } from './control.ts'
import { outages, recoveries } from './history.ts'
import { type Event, latencyOf, type Recovery, type Report } from './report.ts'
import type { Fault } from './scenario/faults.ts'
import { begin } from './scenario/inflict.ts'
import { planSteps, type Step } from './scenario/plan.ts'
import { parseScenario, ScenarioError } from './scenario/scenario.ts'
import { seededRandom } from './scenario/seeded-random.ts'
import { WORKLOADS } from './workloads/all.ts'
import { pause, type Workload, within } from './workloads/workload.ts'

export interface RunOptions {
  readonly control: ClusterControl
  /** The scenario file. */
  readonly text: string
  readonly seed: number
  /** Instead of the scenario's, ms. */
  readonly durationMs?: number
  /** Clients of each workload. */
  readonly clients?: number
  /** What the cluster keeps its data in, for the report. */
  readonly storage: string
  readonly say: (event: Event) => void
  /** Of which the scenario names some; those of every dialect unless said otherwise. */
  readonly known?: typeof WORKLOADS
  /** Ends the run early, but in order. */
  readonly signal?: AbortSignal
}

/** Until every client is served again; longer is stuck. */
const SERVED_MS = 60_000
const HEALTHY_MS = 60_000
const REMOVE_MS = 20_000

/** Rejects with a ScenarioError before anything is done. A fault that cannot be inflicted is told by the report. */
export async function runScenario(options: RunOptions): Promise<Report> {
  const { control, text, seed, clients = 4, known = WORKLOADS } = options
  const scenario = parseScenario(text)
  const durationMs = options.durationMs ?? scenario.durationMs
  const random = seededRandom(seed)
  const steps = planSteps(scenario, control.nodes, random)
  const starts = scenario.workloads.map((name) => workloadOf(name, known))
  const run = `${seed.toString(36)}${Date.now().toString(36)}`
  const { endpoints, metadata } = control
  const reach = { endpoints, ...(metadata !== undefined && { metadata }) }
  const workloads = new Map<string, Workload>()
  for (const [at, name] of scenario.workloads.entries()) {
    const start = await starts[at]?.()
    if (start !== undefined) {
      workloads.set(name, await start({ ...reach, run, clients }))
    }
  }
  const log = new Timeline(options.say)
  const passed = new Run(options, { workloads, log })
  const startedAt = new Date().toISOString()
  const endMs = performance.now() + durationMs
  let faults = 0
  while (performance.now() < endMs && options.signal?.aborted !== true) {
    await passed.step(steps.next().value)
    faults++
    await pause(scenario.calmMs)
  }
  await passed.settle()
  const verdicts: Record<string, Verdict> = {}
  for (const [name, workload] of workloads) {
    verdicts[name] = await workload.finish().catch(unjudged)
    const { acknowledged, findings } = verdicts[name]
    log.add(`${name}: ${acknowledged} acknowledged, ${findings.length} findings`)
    // What a promise was broken on stays, to be looked at; what cannot be removed is no broken promise.
    if (findings.length === 0) await within(workload.remove(), REMOVE_MS)
  }
  const latencies = Object.fromEntries(
    [...workloads].map(([name, { sends }]) => [name, latencyOf(sends)]),
  )
  return {
    ...{ version: 1, scenario: scenario.name, text, seed, durationMs, startedAt, faults },
    ...{ storage: options.storage, events: log.events, recoveries: passed.recoveries },
    ...{ latencies, verdicts, notInflicted: passed.notInflicted },
  }
}

/** It could not ask the cluster what became of what it has sent. */
function unjudged(error: unknown): Verdict {
  const findings = [{ kind: 'stuck', what: `not judged: ${reasonOf(error)}` }] as const
  return { acknowledged: 0, unknown: 0, delivered: 0, redelivered: 0, findings }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function workloadOf(name: string, known: typeof WORKLOADS) {
  const load = known[name]
  if (load !== undefined) return load
  throw new ScenarioError(
    `there is no workload ${name}; there are ${Object.keys(known).join(', ')}`,
  )
}

class Timeline {
  readonly events: Event[] = []
  readonly #say: (event: Event) => void
  readonly #startMs = performance.now()

  constructor(say: (event: Event) => void) {
    this.#say = say
  }

  add(text: string): Event {
    const event = { atMs: Math.round(performance.now() - this.#startMs), text }
    this.events.push(event)
    this.#say(event)
    return event
  }
}

class Run {
  readonly recoveries: Recovery[] = []
  readonly notInflicted: Event[] = []
  readonly #options: RunOptions
  readonly #workloads: ReadonlyMap<string, Workload>
  readonly #log: Timeline

  constructor(
    options: RunOptions,
    { workloads, log }: { workloads: ReadonlyMap<string, Workload>; log: Timeline },
  ) {
    this.#options = options
    this.#workloads = workloads
    this.#log = log
  }

  async step(step: Step): Promise<void> {
    const { control } = this.#options
    const beginMs = performance.now()
    const undo = await this.#try(`${nameOf(step.fault)} was not inflicted`, () =>
      begin(control, step, (text) => this.#log.add(text)),
    )
    if (undo === undefined) return
    await pause(step.fault.kind === 'wait' ? 0 : step.fault.forMs)
    await this.#try(`${nameOf(step.fault)} was not undone`, undo)
    const endMs = performance.now()
    const isServed = await this.#untilServed(endMs)
    const slowest: string[] = []
    for (const [workload, { sends, clients }] of this.#workloads) {
      const from = (ms: number) => recoveries(sends, clients, ms).map((each) => each ?? SERVED_MS)
      const recovery = {
        ...{ fault: nameOf(step.fault), workload },
        outageMs: outages(sends, clients, { fromMs: beginMs, toMs: endMs }),
        fromEndMs: from(endMs),
      }
      this.recoveries.push(recovery)
      slowest.push(`${workload} ${Math.round(Math.max(...recovery.outageMs))} ms`)
    }
    const all = isServed ? 'every client is served' : 'CLIENTS ARE STUCK'
    this.#log.add(`${all}; longest without an answer: ${slowest.join(', ')}`)
  }

  /** Everything runs, every link is whole. */
  async settle(): Promise<void> {
    const { control } = this.#options
    await this.#try('links were not healed', async () => control.links?.heal())
    const end = performance.now() + HEALTHY_MS
    for (;;) {
      const trouble = await control.trouble().catch(reasonOf)
      if (trouble === undefined) break
      if (performance.now() > end) {
        this.#log.add(`the cluster is not whole again: ${trouble}`)
        return
      }
      await pause(200)
    }
    this.#log.add('the cluster is whole again')
  }

  /** A process that has ended, a command that fails: the run goes on, and its report tells. */
  async #try<Done>(failure: string, act: () => Promise<Done>): Promise<Done | undefined> {
    try {
      return await act()
    } catch (error) {
      this.notInflicted.push(this.#log.add(`${failure}: ${reasonOf(error)}`))
      return undefined
    }
  }

  async #untilServed(fromMs: number): Promise<boolean> {
    const end = performance.now() + SERVED_MS
    const isServed = ({ sends, clients }: Workload): boolean =>
      recoveries(sends, clients, fromMs).every((ms) => ms !== undefined)
    while (![...this.#workloads.values()].every(isServed)) {
      if (performance.now() > end) return false
      await pause(50)
    }
    return true
  }
}

/** What is alike in the table of recoveries. */
function nameOf(fault: Fault): string {
  if (fault.kind === 'wait' || fault.kind === 'add-member') return fault.kind
  if ('parts' in fault) {
    return fault.parts.map(nameOf).join(fault.kind === 'together' ? ' + ' : ' then ')
  }
  const way = 'oneWay' in fault && fault.oneWay ? ' one way' : ''
  const where = 'aheadMs' in fault ? (fault.aheadMs < 0 ? ' back' : ' ahead') : ''
  return `${fault.kind} ${fault.target.replace(/-\d+$/, '')}${way}${where}`
}
