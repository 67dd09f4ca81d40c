/** `robust queue create|alter|delete|list|describe`: what queues there are, and how they are. */
import {
  type admin,
  isQueueSetting,
  parseSettingText,
  QUEUE_SETTINGS,
  type QueueSettingName,
  refusalOfQueue,
} from '@robust/proto'
import { addressesOf, type TargetOptions } from '../cluster/target.ts'
import type { Context } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { table } from '../output.ts'
import {
  changeQueue,
  createQueue,
  deleteQueue,
  describeQueue,
  listQueues,
  listRedrives,
} from '../queues-client.ts'
import type { ListOptions } from './clients.ts'

export interface QueueOptions extends TargetOptions {
  readonly bind?: readonly string[]
  /** NAME=VALUE. */
  readonly config?: readonly string[]
}

const LIMIT = 100

export async function queueCreate(
  context: Context,
  name: string,
  options: QueueOptions,
): Promise<number> {
  const settings = settingsOf(name, options)
  const { queue, existed } = await createQueue(at(context, name, options), settings)
  if (existed) {
    throw new CliError('QUEUE_EXISTS', {
      message: `queue ${name} exists`,
      hint: `robust queue describe ${name}`,
      exit: exitCodes.failed,
    })
  }
  const bound = queue?.bindings.length === 0 ? '' : `, bound to ${queue?.bindings.join(' ')}`
  return done(context, queue && asJson(queue), `queue ${name}${bound}`)
}

export async function queueAlter(
  context: Context,
  name: string,
  options: QueueOptions,
): Promise<number> {
  const queue = await changeQueue(at(context, name, options), settingsOf(name, options))
  return done(context, asJson(queue), `queue ${name} is changed`)
}

export async function queueDelete(
  context: Context,
  name: string,
  options: TargetOptions,
): Promise<number> {
  await deleteQueue(at(context, name, options))
  return done(context, { name, deleted: true }, `queue ${name} and its messages are deleted`)
}

export async function queueList(context: Context, options: ListOptions): Promise<number> {
  const { output, format } = context
  const { filter = '', after = '', limit = LIMIT } = options
  const queues = await listQueues(addressesOf(context, options), { filter, after, limit })
  const next = queues.length < limit ? null : (queues[queues.length - 1]?.name ?? null)
  if (format === 'json') {
    output.json({ items: queues.map(asJson), next })
    return exitCodes.ok
  }
  const columns = [
    { title: 'QUEUE' },
    { title: 'READY', right: true },
    { title: 'IN FLIGHT', right: true },
    { title: 'DELAYED', right: true },
    { title: 'BYTES', right: true },
    { title: 'OWNER' },
    { title: 'BOUND TO' },
  ]
  const rows = queues.map(({ name, counts, owner, bindings }) => [
    name,
    ...(['ready', 'inFlight', 'delayed', 'bytes'] as const).map((count) => shown(counts?.[count])),
    owner || '-',
    bindings.join(' '),
  ])
  output.print(table(columns, rows, output.paint))
  if (next !== null) output.warn(`there may be more: --after ${JSON.stringify(next)}`)
  return exitCodes.ok
}

export async function queueDescribe(
  context: Context,
  name: string,
  options: TargetOptions,
): Promise<number> {
  const { output, format } = context
  const where = at(context, name, options)
  const queue = await describeQueue(where)
  const redrives = await listRedrives(where)
  if (format === 'json') {
    output.json({ ...asJson(queue), redrives })
    return exitCodes.ok
  }
  const { counts, shard, owner, bindings, config } = queue
  const lines = {
    'bound to': bindings.length === 0 ? 'nothing' : bindings.join(' '),
    shard: `${shard}, of ${owner || 'nobody now'}`,
    ready: shown(counts?.ready),
    'in flight': shown(counts?.inFlight),
    delayed: shown(counts?.delayed),
    bytes: shown(counts?.bytes),
    'oldest age': counts === undefined ? '-' : `${Math.round(counts.oldestAgeMs / 1000)} s`,
    consumers: shown(counts?.consumers),
    ...Object.fromEntries(Object.entries(config).map(([key, json]) => [key, settingText(json)])),
  }
  const text = Object.entries(lines).map(
    ([key, value]) => `${output.paint.dim(key.padEnd(20))} ${value}`,
  )
  output.print(text.join('\n'))
  for (const { task, state, moved, toMove, to } of redrives) {
    const target = to === undefined ? 'back' : `to ${to}`
    output.print(
      `${output.paint.dim('redrive'.padEnd(20))} ${task} ${target}: ${state}, ${moved} of ${toMove}`,
    )
  }
  return exitCodes.ok
}

export function at(context: Context, name: string, options: TargetOptions) {
  return { addresses: addressesOf(context, options), name }
}

export function done({ output, format }: Context, value: unknown, text: string): number {
  if (format === 'json') output.json(value)
  else output.print(text)
  return exitCodes.ok
}

function settingsOf(name: string, { bind, config = [] }: QueueOptions) {
  const changes = Object.fromEntries(config.map(settingOf))
  // An empty one unbinds it.
  const filters = bind?.filter((filter) => filter !== '')
  const value = { config: changes, ...(filters && { bindings: filters }) }
  const refusal = refusalOfQueue(name, value)
  if (refusal !== undefined) {
    throw new CliError('BAD_VALUE', { message: refusal, exit: exitCodes.badData })
  }
  return {
    config: Object.fromEntries(
      Object.entries(changes).map(([setting, each]) => [setting, JSON.stringify(each)]),
    ),
    bindings: filters && { filters: [...filters] },
  }
}

function settingOf(setting: string): readonly [QueueSettingName, unknown] {
  const [, name = '', value = ''] = /^([a-z-]+)=(.*)$/.exec(setting) ?? []
  if (!isQueueSetting(name)) {
    const known = Object.keys(QUEUE_SETTINGS).join(', ')
    throw usageError(`--config ${setting} is not NAME=VALUE; names are ${known}`)
  }
  // The name of a queue may look like a number.
  const isText = QUEUE_SETTINGS[name].type === 'text' && value !== 'null'
  return [name, isText ? value : parseSettingText(value)]
}

function asJson({ config, ...queue }: admin.Queue) {
  const entries = Object.entries(config).map(([name, json]) => [name, JSON.parse(json)])
  return { ...queue, config: Object.fromEntries(entries) as Record<string, unknown> }
}

function settingText(json: string): string {
  return json === 'null' ? '-' : String(JSON.parse(json))
}

function shown(count: number | undefined): string {
  return count === undefined ? '-' : String(count)
}
