/** `robust group`: groups of consumers, what they have read and what not. */
import type { admin } from '@robust/proto'
import { listGroups } from '../administration-client.ts'
import { addressesOf, type TargetOptions } from '../cluster/target.ts'
import type { Context } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { deleteGroup, describeGroup, findOffset, seekGroup } from '../groups-client.ts'
import { type Column, table } from '../output.ts'
import { existingTopic, topicPartitions } from '../topics-client.ts'
import type { ListOptions } from './clients.ts'
import { at, done } from './queue.ts'

const LIMIT = 100

export async function groupList(context: Context, options: ListOptions): Promise<number> {
  const { output, format } = context
  const { filter = '', after = '', limit = LIMIT } = options
  const page = { filter, after, limit }
  const { items, next } = await listGroups(addressesOf(context, options), page)
  if (format === 'json') {
    output.json({ items, next: next ?? null })
    return exitCodes.ok
  }
  const columns: Column[] = [
    { title: 'GROUP' },
    { title: 'TYPE' },
    { title: 'STATE' },
    { title: 'MEMBERS', right: true },
    { title: 'COORDINATOR' },
  ]
  const rows = items.map(({ name, type, state, members, node }) => [
    ...[name, type, state, String(members), node],
  ])
  output.print(table(columns, rows, output.paint))
  if (next !== undefined) output.warn(`there may be more: --after ${JSON.stringify(next)}`)
  return exitCodes.ok
}

export async function groupDescribe(
  context: Context,
  name: string,
  options: TargetOptions,
): Promise<number> {
  const { output, format } = context
  const group = await describeGroup(at(context, name, options))
  const offsets = group.offsets.map((one) => ({
    ...one,
    lag: lagOf(one),
    member: readerOf(group, one),
  }))
  if (format === 'json') {
    output.json({ ...group, offsets })
    return exitCodes.ok
  }
  const lines = {
    type: group.type,
    state: group.state,
    protocol: group.protocol || '-',
    members: String(group.members.length),
    lag: String(offsets.reduce((sum, { lag }) => sum + (lag ?? 0), 0)),
    'last rebalance': group.reason || '-',
  }
  const text = Object.entries(lines).map(
    ([key, value]) => `${output.paint.dim(key.padEnd(18))} ${value}`,
  )
  output.print(text.join('\n'))
  const columns: Column[] = [
    { title: 'TOPIC' },
    { title: 'PARTITION', right: true },
    { title: 'COMMITTED', right: true },
    { title: 'END', right: true },
    { title: 'LAG', right: true },
    { title: 'MEMBER' },
    { title: 'CLIENT' },
    { title: 'HOST' },
  ]
  const rows = offsets.map(({ topic, partition, offset, endOffset, lag, member }) => [
    ...[topic, String(partition), shown(offset), String(endOffset), shown(lag)],
    ...[member?.memberId ?? '-', member?.clientId ?? '-', member?.clientHost ?? '-'],
  ])
  output.print(`\n${table(columns, rows, output.paint)}`)
  return exitCodes.ok
}

export async function groupDelete(
  context: Context,
  name: string,
  options: TargetOptions,
): Promise<number> {
  await deleteGroup(at(context, name, options))
  const text = `group ${name} and what it has committed are deleted`
  return done(context, { name, deleted: true }, text)
}

export interface SeekOptions extends TargetOptions {
  readonly topic: string
  readonly partition?: readonly number[]
  /** earliest, latest, an offset, or a time. */
  readonly to: string
  readonly dryRun?: boolean
}

export async function groupSeek(
  context: Context,
  name: string,
  options: SeekOptions,
): Promise<number> {
  const { topic, partition: wanted = [], dryRun = false } = options
  const to = targetOf(options.to)
  const group = at(context, name, options)
  await existingTopic(group.addresses, topic)
  const all = await topicPartitions(group.addresses, topic)
  const unknown = wanted.find((one) => all.every(({ partition }) => partition !== one))
  if (unknown !== undefined) {
    const message = `topic ${topic} has ${all.length} partitions, from 0 on`
    throw new CliError('BAD_VALUE', { message, exit: exitCodes.badData })
  }
  const chosen = all.filter(({ partition }) => wanted.length === 0 || wanted.includes(partition))
  const offsets = await Promise.all(
    chosen.map(async (one) => ({
      ...{ topic, partition: one.partition },
      offset: await offsetOf(group.addresses, { topic, to, one }),
    })),
  )
  const before = dryRun ? undefined : await seekGroup(group, offsets)
  if (context.format === 'json') {
    context.output.json({ name, dryRun, offsets })
    return exitCodes.ok
  }
  const columns: Column[] = [
    { title: 'TOPIC' },
    { title: 'PARTITION', right: true },
    { title: 'OFFSET', right: true },
  ]
  const rows = offsets.map((one) => [one.topic, String(one.partition), String(one.offset)])
  context.output.print(table(columns, rows, context.output.paint))
  if (before === false) context.output.warn(`group ${name} is new`)
  if (dryRun) context.output.warn('nothing is changed')
  return exitCodes.ok
}

type SeekTarget =
  | { readonly kind: 'earliest' | 'latest' }
  | { readonly kind: 'offset'; readonly offset: number }
  | { readonly kind: 'time'; readonly timeMs: number }

/** A whole number is an offset, anything else that a Date understands a time. */
export function targetOf(text: string): SeekTarget {
  if (text === 'earliest' || text === 'latest') return { kind: text }
  if (/^\d{1,15}$/.test(text)) return { kind: 'offset', offset: Number(text) }
  const timeMs = Date.parse(text)
  if (/^\d{4}-/.test(text) && Number.isFinite(timeMs) && timeMs >= 0)
    return { kind: 'time', timeMs }
  throw usageError(
    `--to ${text} is none of earliest, latest, an offset, or a time such as 2026-01-31T12:00:00Z`,
  )
}

interface Seeking {
  readonly topic: string
  readonly to: SeekTarget
  readonly one: Pick<admin.TopicPartition, 'partition' | 'startOffset' | 'endOffset'>
}

/** Within what there is: there is nothing to be read elsewhere. */
async function offsetOf(
  addresses: readonly string[],
  { topic, to, one }: Seeking,
): Promise<number> {
  const { partition, startOffset, endOffset } = one
  switch (to.kind) {
    case 'earliest':
      return startOffset
    case 'latest':
      return endOffset
    case 'offset':
      return Math.min(Math.max(to.offset, startOffset), endOffset)
    case 'time': {
      const found = await findOffset(addresses, { topic, partition, timeMs: to.timeMs })
      return found ?? endOffset
    }
    default:
      return to satisfies never
  }
}

function lagOf({ offset, startOffset, endOffset }: admin.GroupOffset): number | undefined {
  return offset === undefined ? undefined : Math.max(0, endOffset - Math.max(offset, startOffset))
}

function readerOf(
  { members }: admin.Group,
  { topic, partition }: admin.GroupOffset,
): admin.GroupMember | undefined {
  return members.find(({ partitions }) =>
    partitions.some((one) => one.topic === topic && one.partitions.includes(partition)),
  )
}

function shown(value: number | undefined): string {
  return value === undefined ? '-' : String(value)
}
