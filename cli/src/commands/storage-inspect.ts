/** `robust storage verify` and `stats`: what is stored, and whether it is whole. They only read. */
import {
  checkByReads,
  type ShardCheck,
  type StorageAdapter,
  withoutPasswords,
} from '@robust/storage-adapters'
import type { Context } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { table } from '../output.ts'
import { withStorage } from './storage-open.ts'

type Checked = ShardCheck & { readonly shard: number }

export async function storageVerify(context: Context, url: string): Promise<number> {
  const { output, format } = context
  return withStorage(context, { url, forReading: true }, async (adapter) => {
    const checked: Checked[] = []
    for (const shard of await adapter.shards()) {
      output.progress(`checking shard ${shard} ...`)
      checked.push({ shard, ...(await check(adapter, shard)) })
    }
    const damaged = checked.filter(({ problems }) => problems.length > 0)
    const sum = sumOf(checked)
    const isComplete = adapter.check !== undefined
    if (format === 'json') {
      const shown = { url: withoutPasswords(url), complete: isComplete, ...sum, shards: checked }
      output.json({ ...shown, damaged: damaged.map(({ shard }) => shard) })
    } else {
      output.print(report(checked, sum))
      if (!isComplete) {
        output.warn('asked by reads only: on the node itself, stopped, more is checked')
      }
    }
    return damaged.length === 0 ? exitCodes.ok : exitCodes.badData
  })
}

function check(adapter: StorageAdapter, shard: number): Promise<ShardCheck> {
  return adapter.check ? adapter.check(shard) : checkByReads(adapter, shard)
}

function sumOf(checked: readonly Checked[]) {
  const sum = { logs: 0, batches: 0, keys: 0, bytes: 0, problems: 0 }
  for (const { logs, batches, keys, bytes, problems } of checked) {
    sum.logs += logs
    sum.batches += batches
    sum.keys += keys
    sum.bytes += bytes
    sum.problems += problems.length
  }
  return sum
}

function report(checked: readonly Checked[], sum: ReturnType<typeof sumOf>): string {
  const lines = checked.flatMap(({ shard, problems }) =>
    problems.map((problem) => `DATA LOSS  shard ${shard}: ${problem}`),
  )
  const damaged = checked.filter(({ problems }) => problems.length > 0).length
  const counts = `${sum.logs} logs, ${sum.batches} batches, ${sum.keys} keys, ${sum.bytes} bytes`
  const verdict =
    damaged === 0
      ? `${checked.length} shards are whole`
      : `${damaged} of ${checked.length} shards are damaged, the others are whole`
  return [...lines, `${verdict}: ${counts}`].join('\n')
}

export async function storageStats(context: Context, url: string): Promise<number> {
  const { output, format } = context
  return withStorage(context, { url, forReading: true }, async (adapter) => {
    const { capabilities, pressure = 0 } = adapter
    const shards = []
    for (const shard of await adapter.shards())
      shards.push({ shard, ...(await adapter.stats(shard)) })
    if (format === 'json') {
      output.json({ url: withoutPasswords(url), capabilities, pressure, shards })
      return exitCodes.ok
    }
    const titles = ['SHARD', 'EPOCH', 'COMMIT', 'LOGS', 'KEYS', 'BYTES']
    const rows = shards.map(({ shard, epoch, commitNumber, logs, keys, bytes }) =>
      [shard, epoch, commitNumber, logs, keys, bytes].map(String),
    )
    const incarnations = new Set(shards.map(({ incarnation }) => incarnation))
    output.print(
      table(
        titles.map((title) => ({ title, right: true })),
        rows,
        output.paint,
      ),
    )
    output.print(`\nincarnation  ${Array.from(incarnations).join(', ') || '-'}`)
    output.print(`pressure     ${Math.round(pressure * 100)}%`)
    output.print(`promise      ${capabilities.promise}`)
    return exitCodes.ok
  })
}
