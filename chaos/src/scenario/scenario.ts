/** A scenario file: which workloads run, and what happens to the cluster meanwhile. YAML, or JSON, which is YAML. */
import { parse, YAMLParseError } from 'yaml'
import { FAULT_KINDS, type Fault } from './faults.ts'

export interface Scenario {
  readonly name: string
  readonly about: string
  readonly workloads: readonly string[]
  /** From the first fault to the last, ms. */
  readonly durationMs: number
  /** Between faults, after all clients are served again, ms. */
  readonly calmMs: number
  readonly order: 'random' | 'in-turn'
  readonly faults: readonly Fault[]
}

export class ScenarioError extends Error {
  override readonly name = 'ScenarioError'
}

type Fields = Readonly<Record<string, unknown>>

const KNOWN = ['name', 'about', 'workloads', 'duration', 'calm', 'order', 'faults']
const KNOWN_OF_FAULT = ['for', 'from', 'to', 'one-way', 'delay', 'jitter', 'loss', 'by']

/** @throws ScenarioError that says what is wrong, and where. */
export function parseScenario(text: string): Scenario {
  const fields = fieldsOf(parsed(text), 'the scenario')
  refuseUnknown(fields, KNOWN, 'the scenario')
  const { name, about = '', workloads, faults, order = 'random' } = fields
  if (typeof name !== 'string' || name === '') throw new ScenarioError('name is missing')
  if (typeof about !== 'string') throw new ScenarioError('about is a text')
  if (order !== 'random' && order !== 'in-turn') {
    throw new ScenarioError(`order is random or in-turn, not ${String(order)}`)
  }
  return {
    ...{ name, about, order },
    workloads: listOf(workloads, 'workloads').map((each) => {
      if (typeof each === 'string') return each
      throw new ScenarioError('workloads are names')
    }),
    durationMs: timeOf(fields['duration'] ?? '60s', 'duration'),
    calmMs: timeOf(fields['calm'] ?? '2s', 'calm'),
    faults: listOf(faults, 'faults').map((each, at) => parseFault(each, `fault ${at + 1}`)),
  }
}

function parsed(text: string): unknown {
  try {
    return parse(text)
  } catch (error) {
    if (error instanceof YAMLParseError) throw new ScenarioError(error.message)
    throw error
  }
}

function parseFault(value: unknown, where: string): Fault {
  const fields = fieldsOf(value, where)
  const kinds = FAULT_KINDS.filter((kind) => kind in fields)
  const [kind] = kinds
  if (kind === undefined || kinds.length > 1) {
    throw new ScenarioError(`${where} is exactly one of ${FAULT_KINDS.join(', ')}`)
  }
  refuseUnknown(fields, [kind, ...KNOWN_OF_FAULT], where)
  const forMs = timeOf(fields['for'] ?? '0s', `${where}: for`)
  if (kind === 'together' || kind === 'in-turn') {
    const parts = listOf(fields[kind], where).map((each, at) =>
      parseFault(each, `${where}, part ${at + 1}`),
    )
    return { kind, parts, forMs }
  }
  if (kind === 'wait') return { kind, forMs: timeOf(fields[kind], where) }
  if (kind === 'add-member') {
    if (fields[kind] === 'placement') return { kind, forMs }
    throw new ScenarioError(`${where}: only placement can have one more member`)
  }
  const target = textOf(fields[kind], `${where}: ${kind}`)
  if (kind === 'clock-jump') {
    return { kind, target, forMs, aheadMs: signedTimeOf(fields['by'], `${where}: by`) }
  }
  if (kind !== 'cut' && kind !== 'slow') return { kind, target, forMs }
  const others = textOf(fields[kind === 'cut' ? 'from' : 'to'] ?? 'others', where)
  const oneWay = fields['one-way'] === true
  if (kind === 'cut') return { kind, target, forMs, others, oneWay }
  return {
    ...{ kind, target, forMs, others, oneWay },
    delayMs: timeOf(fields['delay'] ?? '0s', `${where}: delay`),
    jitterMs: timeOf(fields['jitter'] ?? '0s', `${where}: jitter`),
    lossPercent: percentOf(fields['loss'] ?? 0, `${where}: loss`),
  }
}

function fieldsOf(value: unknown, where: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw new ScenarioError(`${where} is no map`)
}

function refuseUnknown(fields: Fields, known: readonly string[], where: string): void {
  const unknown = Object.keys(fields).find((field) => !known.includes(field))
  if (unknown !== undefined) throw new ScenarioError(`${where} has no field ${unknown}`)
}

function listOf(value: unknown, where: string): readonly unknown[] {
  if (Array.isArray(value) && value.length > 0) return value
  throw new ScenarioError(`${where} is a list of one or more`)
}

function textOf(value: unknown, where: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw new ScenarioError(`${where} is the name of a node, of a role, or of several`)
}

function percentOf(value: unknown, where: string): number {
  if (typeof value === 'number' && value >= 0 && value <= 100) return value
  throw new ScenarioError(`${where} is a number from 0 to 100`)
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** A time that may be below 0, to ms. @throws ScenarioError */
function signedTimeOf(value: unknown, where: string): number {
  const text = String(value)
  return text.startsWith('-') ? -timeOf(text.slice(1), where) : timeOf(text, where)
}

/** To ms. @throws ScenarioError */
export function timeOf(value: unknown, where: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(String(value)) ?? []
  const ms = Number(number) * (UNITS[unit] ?? Number.NaN)
  if (ms >= 0) return ms
  throw new ScenarioError(`${where} is a time like 500ms, 30s or 2m, not ${String(value)}`)
}
