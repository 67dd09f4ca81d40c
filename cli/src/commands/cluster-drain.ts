/**
 * `robust cluster drain NODE`: a broker gives up all shards and all clients, in order, and stays a member
 * until it is stopped. `undrain` takes it back.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { settingValue } from '@robust/proto'
import { drainBroker, undrainBroker } from '../clients.ts'
import { placementOf } from '../cluster/launch.ts'
import { leaderStatus } from '../cluster/readiness.ts'
import type { ClusterState } from '../cluster/state.ts'
import { type Context, requireCluster, throwIfInterrupted } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { storedSettings } from '../settings-client.ts'

const pollMs = 200

/** After the deadline shards are taken and clients closed; that much is waited for it. */
const AFTER_DEADLINE_MS = 10_000

const REASON = 'asked by the operator'

interface Left {
  readonly shards: number
  /** As of the broker's last report. */
  readonly clients: number
}

export async function drainNode(
  context: Context,
  wanted: string,
  options: { name?: string; timeout: number; deadline?: number },
): Promise<number> {
  const { output, format, command } = context
  const state = requireCluster(context, options.name)
  await refuseOthers(state, wanted)
  const addresses = placementOf(state)
  const clients = (await leftAt(addresses, wanted))?.clients ?? 0
  const deadlineMs = options.deadline ?? (await usualDeadlineMs(addresses))
  const shards = await drainBroker(addresses, { nodeId: wanted, reason: REASON, deadlineMs })
  const timeoutMs = Math.max(options.timeout * 1000, deadlineMs + AFTER_DEADLINE_MS)
  const end = performance.now() + timeoutMs
  for (let left: Left = { shards, clients: 1 }; left.shards + left.clients > 0; ) {
    throwIfInterrupted(context)
    if (performance.now() > end) throw notDrained(wanted, left, timeoutMs)
    output.progress(`${wanted} has ${left.shards} shards and ${left.clients} clients left ...`)
    await sleep(pollMs)
    left = (await leftAt(addresses, wanted)) ?? left
  }
  if (format === 'json') output.json({ node: wanted, moved: shards, clients })
  else {
    output.print(`${wanted} has no shard and no client any more; ${shards} shards were moved`)
    output.print(`to stop it: ${command} cluster kill ${wanted} --signal SIGTERM`)
    output.print(`to use it again: ${command} cluster undrain ${wanted}`)
  }
  return exitCodes.ok
}

export async function undrainNode(
  context: Context,
  wanted: string,
  options: { name?: string },
): Promise<number> {
  const { output, format } = context
  const state = requireCluster(context, options.name)
  await refuseOthers(state, wanted)
  await undrainBroker(placementOf(state), { nodeId: wanted, reason: REASON })
  if (format === 'json') output.json({ node: wanted })
  else output.print(`${wanted} takes clients, and is given shards again`)
  return exitCodes.ok
}

/** A broker that joined by hand can be drained too: the Placement Center knows it. */
async function refuseOthers(state: ClusterState, wanted: string): Promise<void> {
  const ours = state.nodes.find(({ name }) => name === wanted)
  if (ours !== undefined && ours.role !== 'broker') {
    throw usageError(`${wanted} is no broker: only brokers own shards`)
  }
  if (ours !== undefined) return
  const status = await leaderStatus(placementOf(state))
  const members = status?.metadata?.nodes.map(({ nodeId }) => nodeId) ?? []
  if (members.includes(wanted) || status === undefined) return
  throw new CliError('NO_SUCH_NODE', {
    message: `cluster ${state.name} has no broker ${wanted}`,
    cause: `registered are ${members.join(', ') || 'none'}`,
    exit: exitCodes.notFound,
  })
}

/** That holds for a drain which names none; it must be waited for all the same. */
async function usualDeadlineMs(addresses: readonly string[]): Promise<number> {
  const name = 'drain.deadline-seconds'
  const stored = await storedSettings(addresses)
  return settingValue(name, stored.get(name)?.value) * 1_000
}

async function leftAt(addresses: readonly string[], node: string): Promise<Left | undefined> {
  const status = await leaderStatus(addresses)
  if (status === undefined) return undefined
  const owned = status.metadata?.shards.filter(({ owner }) => owner === node) ?? []
  const report = status.reports.find(({ nodeId }) => nodeId === node)?.report
  return { shards: owned.length, clients: report?.connections ?? 0 }
}

function notDrained(node: string, { shards, clients }: Left, timeoutMs: number): CliError {
  const left = `${shards} shards and ${clients} clients`
  return new CliError('NOT_READY', {
    message: `${node} still has ${left} after ${timeoutMs / 1000} s; it goes on giving them up`,
    hint: 'robust cluster events',
    exit: exitCodes.tryAgain,
  })
}
