/** From a scenario and a seed to what is done, step by step. Pure: the same seed gives the same steps. */
import type { ControlledNode } from '../control.ts'
import type { Fault } from './faults.ts'
import type { Scenario } from './scenario.ts'
import { ScenarioError } from './scenario.ts'
import type { Random } from './seeded-random.ts'

/** A fault with the nodes that it hits; `leader` is known only when it happens. */
export interface Step {
  readonly fault: Fault
  readonly nodes: readonly string[]
  readonly others: readonly string[]
  readonly parts: readonly Step[]
  /** Of what a power loss takes. */
  readonly seed?: number
}

/** Endless. @throws ScenarioError when a target is nothing of the cluster's. */
export function* planSteps(
  scenario: Pick<Scenario, 'faults' | 'order'>,
  nodes: readonly ControlledNode[],
  random: Random,
): Generator<Step, never> {
  const { faults, order } = scenario
  for (let turn = 0; ; turn++) {
    const at = order === 'in-turn' ? turn % faults.length : Math.floor(random() * faults.length)
    yield stepOf(faults[at] as Fault, nodes, random)
  }
}

function stepOf(fault: Fault, nodes: readonly ControlledNode[], random: Random): Step {
  if (fault.kind === 'wait' || fault.kind === 'add-member') {
    return { fault, nodes: [], others: [], parts: [] }
  }
  if ('parts' in fault) {
    const parts = fault.parts.map((part) => stepOf(part, nodes, random))
    return { fault, nodes: [], others: [], parts }
  }
  const chosen = targetsOf(fault.target, nodes, random)
  if (fault.kind === 'power-loss') {
    const seed = Math.floor(random() * 2 ** 32)
    return { fault, nodes: chosen, others: [], parts: [], seed }
  }
  if (fault.kind !== 'cut' && fault.kind !== 'slow') {
    return { fault, nodes: chosen, others: [], parts: [] }
  }
  const rest = nodes.map(({ name }) => name).filter((name) => !chosen.includes(name))
  const others =
    fault.others === 'others'
      ? rest
      : targetsOf(fault.others, nodes, random).filter((name) => !chosen.includes(name))
  return { fault, nodes: chosen, others, parts: [] }
}

/** Names, in the order of the cluster. */
function targetsOf(
  target: string,
  nodes: readonly ControlledNode[],
  random: Random,
): readonly string[] {
  if (target === 'leader') return ['leader']
  const names = (wanted: string) =>
    nodes.filter(({ role }) => role === wanted).map(({ name }) => name)
  const role = ['broker', 'placement', 'storage'].find(
    (each) => target === each || target === `${each}s`,
  )
  if (role !== undefined) {
    const all = names(role)
    if (all.length === 0) throw new ScenarioError(`the cluster has no ${role} node of its own`)
    return target === role ? [all[Math.floor(random() * all.length)] as string] : all
  }
  if (target === 'all') return nodes.map(({ name }) => name)
  if (target === 'all-brokers-but-one') {
    const brokers = names('broker')
    const spared = Math.floor(random() * brokers.length)
    return brokers.filter((_, at) => at !== spared)
  }
  const listed = target.split(',').map((name) => name.trim())
  const unknown = listed.find((name) => !nodes.some((node) => node.name === name))
  if (unknown !== undefined) throw new ScenarioError(`the cluster has no node ${unknown}`)
  return listed
}
