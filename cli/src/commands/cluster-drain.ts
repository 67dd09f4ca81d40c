/** `robust cluster drain NODE`: a broker gives up all shards, in order, and goes on serving until it is stopped. */
import { setTimeout as sleep } from 'node:timers/promises'
import { drainBroker } from '../clients.ts'
import { placementOf } from '../cluster/launch.ts'
import { leaderStatus } from '../cluster/readiness.ts'
import type { ClusterState } from '../cluster/state.ts'
import { type Context, requireCluster, throwIfInterrupted } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'

const pollMs = 200

export async function drainNode(
  context: Context,
  wanted: string,
  options: { name?: string; timeout: number },
): Promise<number> {
  const { output, format, command } = context
  const state = requireCluster(context, options.name)
  await refuseOthers(state, wanted)
  const addresses = placementOf(state)
  const atFirst = await drainBroker(addresses, {
    nodeId: wanted,
    reason: 'asked by the operator',
    deadlineMs: 0,
  })
  const end = performance.now() + options.timeout * 1000
  for (let left = atFirst; left > 0; ) {
    throwIfInterrupted(context)
    if (performance.now() > end) throw notDrained(wanted, left, options.timeout)
    output.progress(`${wanted} still owns ${left} shards ...`)
    await sleep(pollMs)
    left = (await ownedBy(addresses, wanted)) ?? left
  }
  if (format === 'json') output.json({ node: wanted, moved: atFirst })
  else {
    output.print(`${wanted} owns no shard any more; ${atFirst} were moved`)
    output.print(`to stop it: ${command} cluster kill ${wanted} --signal SIGTERM`)
  }
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

async function ownedBy(addresses: readonly string[], node: string): Promise<number | undefined> {
  const status = await leaderStatus(addresses)
  return status?.metadata?.shards.filter(({ owner }) => owner === node).length
}

function notDrained(node: string, left: number, seconds: number): CliError {
  return new CliError('NOT_READY', {
    message: `${node} still owns ${left} shards after ${seconds} s; it goes on giving them up`,
    hint: 'robust cluster events',
    exit: exitCodes.tryAgain,
  })
}
