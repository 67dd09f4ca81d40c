/** Does to a cluster what a step says, and undoes it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ClusterControl } from '../control.ts'
import { describeFault, type Fault } from './faults.ts'
import type { Step } from './plan.ts'
import { seededRandom } from './seeded-random.ts'

const LEADER_MS = 30_000
/** From a failed write until the process has ended. */
const ENDING_MS = 2_000

/** Told when something was done. */
export type Say = (text: string) => void

/** Resolves when it has begun, with what undoes it. Rejects when it cannot be: what had begun of it is undone then. */
export async function begin(control: ClusterControl, step: Step, say: Say): Promise<Undo> {
  const { fault, parts } = step
  if (fault.kind === 'wait') {
    await sleep(fault.forMs)
    return nothing
  }
  if (fault.kind === 'together') return beginTogether(control, parts, say)
  if ('parts' in fault) return beginInTurn(control, parts, say)
  if (fault.kind === 'add-member') return changeMembers(control, say)
  const nodes = await resolved(control, step.nodes)
  const undo = await inflict(control, fault, { ...step, nodes })
  say(describeFault(fault, nodes))
  return async () => {
    await undo()
    if (undo !== nothing) say(`${UNDONE[fault.kind]} ${nodes.join(', ')}`)
  }
}

async function beginTogether(
  control: ClusterControl,
  parts: readonly Step[],
  say: Say,
): Promise<Undo> {
  const begun = await Promise.allSettled(parts.map((part) => begin(control, part, say)))
  const undos = begun.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const undo: Undo = () => Promise.all(undos.map((one) => one())).then(nothing)
  const failed = begun.find((one) => one.status === 'rejected')
  if (failed === undefined) return undo
  await undo()
  throw failed.reason
}

async function beginInTurn(
  control: ClusterControl,
  parts: readonly Step[],
  say: Say,
): Promise<Undo> {
  const undos: Undo[] = []
  const undo: Undo = async () => {
    const failures: unknown[] = []
    // In the same order: what was hit first may be needed by what was hit later.
    for (const one of undos) await one().catch((error: unknown) => failures.push(error))
    if (failures.length > 0) throw failures[0]
  }
  for (const part of parts) {
    try {
      undos.push(await begin(control, part, say))
    } catch (error) {
      await undo()
      throw error
    }
    if (part.fault.kind !== 'wait') await sleep(part.fault.forMs)
  }
  return undo
}

async function changeMembers(control: ClusterControl, say: Say): Promise<Undo> {
  const { addMember, removeMember } = control
  if (addMember === undefined || removeMember === undefined) {
    throw new Error('the members of this Placement Center cannot be changed')
  }
  const node = await addMember()
  say(`added ${node}`)
  return async () => {
    await removeMember(node)
    say(`removed ${node}`)
  }
}

export type Undo = () => Promise<void>

const nothing: Undo = () => Promise.resolve()

const UNDONE = {
  kill: 'started',
  pause: 'resumed',
  restart: '',
  drain: 'undrained',
  cut: 'healed',
  slow: 'healed',
  'disk-full': 'room again for',
  'fsync-error': 'disk is well of',
  'power-loss': 'power again for',
  'clock-jump': 'time is right of',
}

async function inflict(
  control: ClusterControl,
  fault: Extract<Fault, { target: string }>,
  { nodes, others, seed = 0 }: Pick<Step, 'nodes' | 'others' | 'seed'>,
): Promise<Undo> {
  const each = (act: (node: string) => Promise<void>) => async () => {
    await Promise.all(nodes.map(act))
  }
  switch (fault.kind) {
    case 'kill':
      await each((node) => control.kill(node))()
      return () => control.start(nodes)
    case 'pause':
      await each((node) => control.pause(node))()
      return each((node) => control.resume(node))
    case 'restart':
      await each((node) => control.restart(node))()
      return nothing
    case 'drain':
      await each((node) => control.drain(node))()
      return each((node) => control.undrain(node))
    case 'disk-full':
    case 'fsync-error':
    case 'power-loss':
    case 'clock-jump':
      return breakProcesses(control, fault, { nodes, seed })
    default:
      return disturb(control, fault, { nodes, others })
  }
}

async function breakProcesses(
  control: ClusterControl,
  fault: ProcessFault,
  { nodes, seed }: { readonly nodes: readonly string[]; readonly seed: number },
): Promise<Undo> {
  const { processes } = control
  if (processes === undefined) throw new Error('disks and clocks of this cluster cannot be broken')
  const all = async (act: (node: string, at: number) => Promise<unknown>): Promise<void> => {
    await Promise.all(nodes.map(act))
  }
  if (fault.kind === 'clock-jump') {
    await all((node) => processes.moveClock(node, fault.aheadMs))
    return () => all((node) => processes.moveClock(node, 0))
  }
  if (fault.kind === 'power-loss') {
    await all((node, at) => processes.losePower(node, seededRandom(seed + at)))
    return () => control.start(nodes)
  }
  const how = fault.kind === 'disk-full' ? 'full' : 'fsync'
  await all((node) => processes.breakDisk(node, how))
  return async () => {
    await all((node) => processes.breakDisk(node, undefined))
    await startEnded(control, nodes)
  }
}

type ProcessFault = Extract<Fault, { target: string }> & {
  readonly kind: 'disk-full' | 'fsync-error' | 'power-loss' | 'clock-jump'
}

/** What could not write ends itself, and needs somebody to start it; it may be about to. */
async function startEnded(control: ClusterControl, nodes: readonly string[]): Promise<void> {
  const end = performance.now() + ENDING_MS
  let left = nodes
  while (left.length > 0 && performance.now() < end) {
    const ended: string[] = []
    for (const node of left) {
      if (await control.processes?.hasEnded(node)) ended.push(node)
    }
    if (ended.length > 0) await control.start(ended)
    left = left.filter((node) => !ended.includes(node))
    await sleep(100)
  }
}

async function disturb(
  { links }: ClusterControl,
  fault: Extract<Fault, { kind: 'cut' | 'slow' }>,
  { nodes, others }: { readonly nodes: readonly string[]; readonly others: readonly string[] },
): Promise<Undo> {
  if (links === undefined) throw new Error('the links of this cluster cannot be disturbed')
  if (fault.kind === 'cut') await links.cut(nodes, others, fault.oneWay)
  else {
    for (const node of nodes) {
      for (const other of others) {
        await links.disturb(node, other, fault)
        if (!fault.oneWay) await links.disturb(other, node, fault)
      }
    }
  }
  return () => links.heal()
}

async function resolved(
  control: ClusterControl,
  nodes: readonly string[],
): Promise<readonly string[]> {
  if (!nodes.includes('leader')) return nodes
  const end = performance.now() + LEADER_MS
  let leader = await control.leader()
  // The fault before may have ended a moment ago.
  while (leader === undefined && performance.now() < end) {
    await sleep(100)
    leader = await control.leader()
  }
  if (leader === undefined) throw new Error('no Placement Center node leads')
  return nodes.map((node) => (node === 'leader' ? leader : node))
}
