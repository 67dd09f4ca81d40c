/** `robust placement ...`: the Placement Center's own nodes: who they are and how, and changes of them. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { placement } from '@robust/proto'
import { placementMetrics } from '../clients.ts'
import { addressesOf, type TargetOptions } from '../cluster/target.ts'
import { type Context, throwIfInterrupted } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { table } from '../output.ts'
import {
  addMember,
  type Center,
  lookAtCenter,
  promoteMember,
  removeMember,
  transferLeadership,
} from '../placement-client.ts'

export interface PlacementOptions extends TargetOptions {
  readonly timeout: number
}

export interface AddOptions extends PlacementOptions {
  readonly learner?: boolean
}

const pollMs = 200

export async function placementStatus(context: Context, options: TargetOptions): Promise<number> {
  const { output, format } = context
  const addresses = addressesOf(context, options)
  const center = await lookAtCenter(addresses)
  const { best, leader } = center
  if (best === undefined) throw unreachable(addresses)
  const members = best.members.map((member) => viewMember(center, member))
  const health = healthOf(center, members)
  if (format === 'json') {
    const { clusterId, term, commitIndex } = best
    const named = { clusterId, health, leader: leader?.nodeId ?? null, term, commitIndex }
    output.json({ ...named, members: await Promise.all(members.map(withMetrics)) })
  } else {
    const { paint } = output
    const line = (title: string, text: string) => `${paint.dim(title.padEnd(10))} ${text}`
    const lead = leader === undefined ? 'none' : leader.nodeId
    output.print(line('cluster', best.clusterId))
    output.print(line('health', health))
    output.print(line('leader', `${lead}, term ${best.term}, commit ${best.commitIndex}`))
    output.print(`\n${formatMembers(members, context)}`)
  }
  return { healthy: exitCodes.ok, degraded: exitCodes.failed, critical: exitCodes.critical }[health]
}

export async function placementMembers(context: Context, options: TargetOptions): Promise<number> {
  const { output, format } = context
  const addresses = addressesOf(context, options)
  const { best } = await lookAtCenter(addresses)
  if (best === undefined) throw unreachable(addresses)
  const members = best.members.map(({ nodeId, address, learner }) => ({
    node: nodeId,
    address,
    role: learner ? 'learner' : 'voter',
    folder: best.memberFolders[nodeId] ?? null,
  }))
  if (format === 'json') output.json(members)
  else {
    const titles = ['NODE', 'ADDRESS', 'ROLE', 'DATA FOLDER']
    const rows = members.map(({ node, address, role, folder }) => [
      node,
      address,
      role,
      folder ?? '-',
    ])
    output.print(table(titles.map(asColumn), rows, output.paint))
  }
  return exitCodes.ok
}

export async function placementAdd(
  context: Context,
  member: string,
  options: AddOptions,
): Promise<number> {
  const [, nodeId = '', address = ''] = /^([A-Za-z0-9._-]{1,255})=(.+:\d{1,5})$/.exec(member) ?? []
  if (nodeId === '') throw usageError(`${member} is not ID=HOST:PORT`)
  const addresses = addressesOf(context, options)
  const isVoting = options.learner !== true
  await addToCenter(context, { addresses, nodeId, address, isVoting }, options.timeout)
  const role = isVoting ? 'voter' : 'learner'
  if (context.format === 'json') context.output.json({ node: nodeId, address, role })
  else context.output.print(`${nodeId} at ${address} is a ${role}`)
  return exitCodes.ok
}

export interface Addition {
  readonly addresses: readonly string[]
  readonly nodeId: string
  readonly address: string
  readonly isVoting: boolean
}

/** A learner first; a voter when it has caught up. Throws NOT_READY when it does not in time. */
export async function addToCenter(
  context: Context,
  { addresses, nodeId, address, isVoting }: Addition,
  timeoutSeconds: number,
): Promise<void> {
  const end = performance.now() + timeoutSeconds * 1000
  context.output.progress(`adding ${nodeId} ...`)
  await until(context, end, () => addMember(addresses, { nodeId, address }))
  if (!isVoting) return
  context.output.progress(`waiting until ${nodeId} has caught up ...`)
  await until(context, end, () => promoteMember(addresses, nodeId))
}

export async function placementPromote(
  context: Context,
  nodeId: string,
  options: PlacementOptions,
): Promise<number> {
  const addresses = addressesOf(context, options)
  await until(context, endOf(options), () => promoteMember(addresses, nodeId))
  if (context.format === 'json') context.output.json({ node: nodeId, role: 'voter' })
  else context.output.print(`${nodeId} is a voter`)
  return exitCodes.ok
}

export async function placementRemove(
  context: Context,
  nodeId: string,
  options: PlacementOptions,
): Promise<number> {
  const addresses = addressesOf(context, options)
  await until(context, endOf(options), () => removeMember(addresses, nodeId))
  if (context.format === 'json') context.output.json({ node: nodeId, removed: true })
  else {
    context.output.print(
      `${nodeId} is no member any more: stop its process; its id and data are not used again`,
    )
  }
  return exitCodes.ok
}

export async function placementTransfer(
  context: Context,
  nodeId: string | undefined,
  options: TargetOptions,
): Promise<number> {
  const addresses = addressesOf(context, options)
  const { leaderId, tookMs } = await transferLeadership(addresses, nodeId ?? '')
  if (context.format === 'json') context.output.json({ leader: leaderId, tookMs })
  else context.output.print(`${leaderId} leads, after ${tookMs} ms`)
  return exitCodes.ok
}

/** Each sample by its name and labels, as Prometheus writes them. */
async function withMetrics(member: MemberView) {
  const text = (await placementMetrics(member.address)) ?? ''
  const samples = text.split('\n').flatMap((line): [string, number | string][] => {
    const [, name = '', value = ''] = /^([^#\s].*) (\S+)$/.exec(line) ?? []
    if (name === '') return []
    return [[name, Number.isFinite(Number(value)) ? Number(value) : value]]
  })
  return { ...member, metrics: Object.fromEntries(samples) }
}

interface MemberView {
  readonly node: string
  readonly address: string
  readonly role: string
  readonly votes: boolean
  readonly state: 'healthy' | 'unhealthy' | 'unreachable' | 'unknown'
  readonly appliedIndex: number | null
  /** Entries of the leader's log that it is not known to have. */
  readonly lag: number | null
  readonly lastContactMs: number | null
  readonly snapshotIndex: number | null
}

function viewMember({ leader, replies }: Center, member: placement.PlacementMember): MemberView {
  const { nodeId, address, learner, matchIndex, lastContactMs, healthy } = member
  const found = replies.get(nodeId)
  const isSilent = found === undefined
  const judged = healthy === undefined ? 'unknown' : healthy ? 'healthy' : 'unhealthy'
  const isLeader = nodeId === leader?.nodeId
  return {
    node: nodeId,
    address,
    role: learner ? 'learner' : (found?.role ?? 'voter'),
    votes: !learner,
    state: isSilent ? 'unreachable' : judged,
    appliedIndex: found?.appliedIndex ?? null,
    lag: leader === undefined ? null : Math.max(0, leader.lastIndex - matchIndex),
    lastContactMs: leader === undefined || isLeader ? null : lastContactMs,
    snapshotIndex: found?.snapshotIndex ?? null,
  }
}

function healthOf({ leader }: Center, members: readonly MemberView[]) {
  if (leader === undefined) return 'critical'
  const isWell = members.every(({ state }) => state === 'healthy' || state === 'unknown')
  return isWell ? 'healthy' : 'degraded'
}

function formatMembers(members: readonly MemberView[], { output }: Context): string {
  const numbers = ['APPLIED', 'LAG', 'CONTACT', 'SNAPSHOT']
  const columns = [
    ...['NODE', 'ADDRESS', 'ROLE', 'STATE'].map(asColumn),
    ...numbers.map((title) => ({ title, right: true })),
  ]
  const rows = members.map((member) => {
    const { node, address, role, state, appliedIndex, lag, lastContactMs, snapshotIndex } = member
    const contact = lastContactMs === null ? '-' : `${lastContactMs} ms`
    const figures = [appliedIndex, lag].map((figure) => String(figure ?? '-'))
    return [node, address, role, state, ...figures, contact, String(snapshotIndex ?? '-')]
  })
  return table(columns, rows, output.paint)
}

function asColumn(title: string): { readonly title: string } {
  return { title }
}

function endOf({ timeout }: PlacementOptions): number {
  return performance.now() + timeout * 1000
}

/** Asks again while it says what it waits for. */
async function until(
  context: Context,
  end: number,
  ask: () => Promise<placement.ChangeMemberReply>,
): Promise<void> {
  for (;;) {
    throwIfInterrupted(context)
    const reply = await orNoLeader(ask)
    if (reply.done) return
    if (performance.now() > end) {
      throw new CliError('NOT_READY', {
        message: 'the members were not changed in time',
        cause: reply.waitsFor,
        hint: 'the same again; what is done already is not done twice',
        exit: exitCodes.tryAgain,
      })
    }
    await sleep(pollMs)
  }
}

/** Nobody may lead for a moment in the middle of a change: that passes too. */
async function orNoLeader(
  ask: () => Promise<placement.ChangeMemberReply>,
): Promise<placement.ChangeMemberReply> {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof CliError) || error.id !== 'NO_LEADER') throw error
    return { done: false, waitsFor: error.message }
  }
}

export function unreachable(addresses: readonly string[]): CliError {
  return new CliError('UNREACHABLE', {
    message: `no Placement Center node answers at ${addresses.join(', ')}`,
    hint: 'name others with --placement HOST:PORT,...',
    exit: exitCodes.unreachable,
  })
}
