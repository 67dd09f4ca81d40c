/** `robust cluster move-shard SHARD`: one shard from its owner to another broker. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { placement } from '@robust/proto'
import { moveShard } from '../clients.ts'
import { placementOf } from '../cluster/launch.ts'
import { leaderStatus } from '../cluster/readiness.ts'
import { type Context, requireCluster, throwIfInterrupted } from '../context.ts'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'

const pollMs = 100

export async function moveOneShard(
  context: Context,
  shard: number,
  options: { name?: string; timeout: number; to?: string },
): Promise<number> {
  const { output, format } = context
  const addresses = placementOf(requireCluster(context, options.name))
  const reason = 'asked by the operator'
  const { from, to, epoch } = await moveShard(addresses, { shard, to: options.to ?? '', reason })
  const end = performance.now() + options.timeout * 1000
  for (let now = await ownerOf(addresses, shard); !isDone(now, epoch); ) {
    throwIfInterrupted(context)
    if (performance.now() > end) throw notMoved(shard, options.timeout)
    output.progress(`shard ${shard} is on its way from ${from} to ${to} ...`)
    await sleep(pollMs)
    now = await ownerOf(addresses, shard)
  }
  const owner = (await ownerOf(addresses, shard))?.owner ?? to
  if (format === 'json') output.json({ shard, from, to: owner })
  else output.print(`shard ${shard} moved from ${from} to ${owner}`)
  return exitCodes.ok
}

async function ownerOf(
  addresses: readonly string[],
  shard: number,
): Promise<placement.Shard | undefined> {
  const status = await leaderStatus(addresses)
  return status?.metadata?.shards[shard]
}

function isDone(shard: placement.Shard | undefined, before: number): boolean {
  return shard?.opened === true && shard.epoch > before
}

function notMoved(shard: number, seconds: number): CliError {
  return new CliError('NOT_READY', {
    message: `shard ${shard} has not moved after ${seconds} s; it goes on`,
    hint: 'robust cluster events',
    exit: exitCodes.tryAgain,
  })
}
