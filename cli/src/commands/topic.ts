/** `robust topic`: logs that keep what is published to an address, and to every address they capture. */
import {
  isTopicSetting,
  parseSettingText,
  refusalOfTopic,
  TOPIC_SETTINGS,
  type TopicConfig,
} from '@robust/proto'
import { addressesOf, type TargetOptions, who } from '../cluster/target.ts'
import type { Context } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { table } from '../output.ts'
import {
  brokersOf,
  deleteTopic,
  existingTopic,
  listTopics,
  noBroker,
  putTopic,
  readTopic,
  topicPartitions,
} from '../topics-client.ts'

export interface TopicOptions extends TargetOptions {
  readonly partitions?: number
  readonly capture?: readonly string[]
  /** NAME=VALUE. */
  readonly set?: readonly string[]
  /** The same, by its older name. */
  readonly config?: readonly string[]
  /** Names of settings that are to be as usual again. */
  readonly unset?: readonly string[]
}

export interface ReadOptions {
  readonly partition?: number
  readonly from?: number
  readonly max?: number
}

export async function topicCreate(
  context: Context,
  name: string,
  options: TopicOptions,
): Promise<number> {
  const { partitions = 1, capture = [] } = options
  const value = { partitions, capture, config: configOf(options) }
  refuseBad(name, value)
  const addresses = addressesOf(context, options)
  await putTopic(addresses, { name, value, expectedVersion: 0, by: who() }).catch(asExisting(name))
  const what = partitions === 1 ? 'one partition' : `${partitions} partitions`
  if (context.format === 'json') context.output.json({ name, ...value })
  else context.output.print(`topic ${name} with ${what}`)
  return exitCodes.ok
}

export async function topicAlter(
  context: Context,
  name: string,
  options: TopicOptions,
): Promise<number> {
  const addresses = addressesOf(context, options)
  const topic = await existingTopic(addresses, name)
  const { version } = topic
  const { partitions = topic.partitions, capture = topic.capture } = options
  if (partitions < topic.partitions) {
    const message = `the topic has ${topic.partitions} partitions, and no topic loses any`
    throw new CliError('BAD_VALUE', { message, exit: exitCodes.badData })
  }
  const config = { ...topic.config, ...usualOf(options.unset ?? []), ...configOf(options) }
  const value = { partitions, capture, config: withoutDefaults(config) }
  refuseBad(name, value)
  await putTopic(addresses, { name, value, expectedVersion: version, by: who() })
  if (context.format === 'json') context.output.json({ name, ...value })
  else context.output.print(`topic ${name} is changed`)
  return exitCodes.ok
}

export async function topicDelete(
  context: Context,
  name: string,
  options: TopicOptions,
): Promise<number> {
  const addresses = addressesOf(context, options)
  const topic = await existingTopic(addresses, name)
  await deleteTopic(addresses, topic, who())
  if (context.format === 'json') context.output.json({ name, deleted: true })
  else context.output.print(`topic ${name} is deleted; its records go within seconds`)
  return exitCodes.ok
}

export async function topicList(context: Context, options: TopicOptions): Promise<number> {
  const { output, format } = context
  const topics = await listTopics(addressesOf(context, options))
  if (format === 'json') {
    output.json(topics)
    return exitCodes.ok
  }
  const columns = [
    { title: 'TOPIC' },
    { title: 'PARTITIONS', right: true },
    { title: 'CLEANUP' },
    { title: 'CAPTURES' },
  ]
  const rows = topics.map(({ name, partitions, config, capture }) => [
    name,
    String(partitions),
    String(config.cleanup),
    capture.join(' '),
  ])
  output.print(table(columns, rows, output.paint))
  return exitCodes.ok
}

export async function topicDescribe(
  context: Context,
  name: string,
  options: TopicOptions,
): Promise<number> {
  const { output, format } = context
  const addresses = addressesOf(context, options)
  const topic = await existingTopic(addresses, name)
  const partitions = await topicPartitions(addresses, name)
  if (format === 'json') {
    output.json({ ...topic, partitions })
    return exitCodes.ok
  }
  const settings = Object.entries(topic.config).map(
    ([setting, value]) => `${output.paint.dim(setting.padEnd(18))} ${value ?? 'no limit'}`,
  )
  const columns = [
    { title: 'PARTITION', right: true },
    { title: 'SHARD', right: true },
    { title: 'OWNER' },
    { title: 'START', right: true },
    { title: 'END', right: true },
    { title: 'BYTES', right: true },
    { title: 'RECORDS/S', right: true },
    { title: 'BYTES/S', right: true },
  ]
  const rows = partitions.map((one) => {
    const { partition, shard, owner, startOffset, endOffset, hasReport } = one
    const reported = (value: number) => (hasReport ? String(Math.round(value)) : '-')
    const figures = [one.bytes, one.recordsPerSecond, one.bytesPerSecond].map(reported)
    const places = [String(partition), String(shard), owner || '-']
    return [...places, String(startOffset), String(endOffset), ...figures]
  })
  const captures = topic.capture.length === 0 ? 'nothing else' : topic.capture.join(' ')
  output.print([`${output.paint.dim('captures'.padEnd(18))} ${captures}`, ...settings].join('\n'))
  output.print(`\n${table(columns, rows, output.paint)}`)
  return exitCodes.ok
}

export async function topicRead(
  context: Context,
  name: string,
  options: TopicOptions & ReadOptions,
): Promise<number> {
  const { output, format } = context
  const { partition = 0, from: fromOffset = 0, max: recordsMax = 0 } = options
  for (const { address } of await brokersOf(addressesOf(context, options))) {
    const reply = await readPages(address, { name, partition, fromOffset, recordsMax })
    if (reply === undefined) continue
    const records = reply.records.map(({ offset, timestampMs, key, value, address: to }) => ({
      offset,
      time: new Date(timestampMs).toISOString(),
      address: to,
      key: key === undefined ? null : Buffer.from(key).toString(),
      value: value === undefined ? null : Buffer.from(value).toString(),
    }))
    if (format === 'json') output.json({ ...reply, records })
    else {
      for (const { offset, address: to, key, value } of records) {
        output.print([offset, to, key ?? '-', value ?? '-'].join('\t'))
      }
    }
    return exitCodes.ok
  }
  throw noBroker()
}

/** A broker ends a page that has become large: there is more until as many came as were asked for. */
async function readPages(
  address: string,
  wanted: { name: string; partition: number; fromOffset: number; recordsMax: number },
): Promise<Awaited<ReturnType<typeof readTopic>>> {
  const first = await readTopic(address, wanted)
  if (first === undefined || wanted.recordsMax === 0) return first
  const records = [...first.records]
  for (let page = first; page.records.length > 0 && records.length < wanted.recordsMax; ) {
    const fromOffset = (page.records.at(-1)?.offset ?? 0) + 1
    if (fromOffset >= page.endOffset) break
    const recordsMax = wanted.recordsMax - records.length
    const next = await readTopic(address, { ...wanted, fromOffset, recordsMax })
    if (next === undefined) break
    records.push(...next.records)
    page = next
  }
  return { ...first, records }
}

function asExisting(name: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof CliError) || error.id !== 'CONFLICT') throw error
    throw new CliError('TOPIC_EXISTS', {
      message: `topic ${name} exists`,
      hint: `robust topic describe ${name}`,
      exit: exitCodes.failed,
    })
  }
}

function refuseBad(name: string, value: object): void {
  const refusal = refusalOfTopic(name, value)
  if (refusal !== undefined) {
    throw new CliError('BAD_VALUE', { message: refusal, exit: exitCodes.badData })
  }
}

function configOf({ set = [], config = [] }: TopicOptions): Record<string, unknown> {
  return Object.fromEntries(
    [...config, ...set].map((setting) => {
      const [, name = '', value = ''] = /^([a-z-]+)=(.*)$/.exec(setting) ?? []
      if (!isTopicSetting(name)) {
        throw usageError(`--set ${setting} is not NAME=VALUE; ${namesOfSettings()}`)
      }
      return [name, value === 'null' ? null : parseSettingText(value)]
    }),
  )
}

function usualOf(names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    names.map((name) => {
      if (!isTopicSetting(name)) throw usageError(`--unset ${name}: ${namesOfSettings()}`)
      return [name, TOPIC_SETTINGS[name].default]
    }),
  )
}

function namesOfSettings(): string {
  return `names are ${Object.keys(TOPIC_SETTINGS).join(', ')}`
}

function withoutDefaults(config: TopicConfig): Record<string, unknown> {
  const entries = Object.entries(config).filter(
    ([name, value]) => !isTopicSetting(name) || TOPIC_SETTINGS[name].default !== value,
  )
  return Object.fromEntries(entries)
}
