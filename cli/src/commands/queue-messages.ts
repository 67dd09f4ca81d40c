/** `robust queue send|receive|peek|purge|redrive|move`: what is in a queue. */
import { setTimeout as pause } from 'node:timers/promises'
import type { admin } from '@robust/proto'
import type { TargetOptions } from '../cluster/target.ts'
import { type Context, throwIfInterrupted } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import {
  acknowledgeInQueue,
  cancelRedrive,
  listRedrives,
  type NamedQueue,
  peekQueue,
  purgeQueue,
  receiveFromQueue,
  sendToQueue,
  startRedrive,
} from '../queues-client.ts'
import { at, done } from './queue.ts'

export interface SendOptions extends TargetOptions {
  /** NAME=VALUE. */
  readonly header?: readonly string[]
  readonly group?: string
  readonly id?: string
  readonly delayMs?: number
  readonly priority?: number
}

export interface ReceiveOptions extends TargetOptions {
  readonly max?: number
  /** Seconds. */
  readonly wait?: number
  readonly leaseMs?: number
  readonly keep?: boolean
  readonly follow?: boolean
}

export interface RedriveOptions extends TargetOptions {
  readonly perSecond?: number
  readonly cancel?: boolean
  readonly detach?: boolean
}

const FOLLOW_WAIT_MS = 5_000
const FOLLOW_MAX = 10
const REDRIVE_LOOK_MS = 300

export async function queueSend(
  context: Context,
  { name, messages }: { readonly name: string; readonly messages: readonly string[] },
  options: SendOptions,
): Promise<number> {
  const values = messages.map((message) => Buffer.from(message))
  const headers = headersOf(options).map(([header, value]) => ({
    name: header,
    value: Buffer.from(value),
  }))
  const sent = await sendToQueue(at(context, name, options), { values, headers })
  const full = sent.filter(({ kind }) => kind === 'full').length
  if (full > 0) {
    throw new CliError('QUEUE_FULL', {
      message: `queue ${name} is full: ${full} of ${sent.length} messages were not taken`,
      hint: `robust queue describe ${name}`,
      exit: exitCodes.tryAgain,
    })
  }
  const { output, format } = context
  if (format === 'json') output.json(sent)
  else for (const { messageId, kind } of sent) output.print(`${messageId}\t${kind}`)
  return exitCodes.ok
}

export async function queueReceive(
  context: Context,
  name: string,
  options: ReceiveOptions,
): Promise<number> {
  const { max = 1, wait = 0, leaseMs, follow = false } = options
  const queue = at(context, name, options)
  if (follow) return followQueue(context, queue, options)
  const messages = await receiveFromQueue(queue, { max, waitMs: wait * 1_000, leaseMs })
  show(context, messages)
  if (options.keep !== true) await acknowledge(context, queue, messages)
  return exitCodes.ok
}

/** Until the user has enough. */
async function followQueue(
  context: Context,
  queue: NamedQueue,
  { leaseMs, keep = false }: ReceiveOptions,
): Promise<number> {
  const { output, format, signal } = context
  while (!signal.aborted) {
    const asked = { max: FOLLOW_MAX, waitMs: FOLLOW_WAIT_MS, leaseMs }
    const messages = await Promise.race([receiveFromQueue(queue, asked), aborted(signal)])
    if (messages === undefined) break
    for (const message of messages) {
      output.print(format === 'json' ? JSON.stringify(asJson(message)) : line(message))
    }
    if (!keep) await acknowledge(context, queue, messages)
  }
  return exitCodes.ok
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(undefined)))
}

/** When they are shown, not before. */
async function acknowledge(
  { output }: Context,
  queue: NamedQueue,
  messages: readonly admin.QueueMessage[],
): Promise<void> {
  if (messages.length === 0) return
  const receipts = messages.map(({ receipt }) => receipt)
  const count = await acknowledgeInQueue(queue, receipts)
  const late = receipts.length - count
  if (late > 0) output.warn(`${late} came back to others before: their leases had ended`)
}

export async function queuePeek(
  context: Context,
  name: string,
  options: TargetOptions & { readonly max?: number },
): Promise<number> {
  show(context, await peekQueue(at(context, name, options), options.max ?? 0))
  return exitCodes.ok
}

export async function queuePurge(
  context: Context,
  name: string,
  options: TargetOptions,
): Promise<number> {
  await purgeQueue(at(context, name, options))
  return done(context, { name, purged: true }, `queue ${name} is empty`)
}

export async function queueRedrive(
  context: Context,
  name: string,
  options: RedriveOptions,
): Promise<number> {
  const queue = at(context, name, options)
  if (options.cancel !== true) return redrive(context, { queue }, options)
  const [newest] = await listRedrives(queue)
  if (newest?.state !== 'running') throw usageError(`nothing of queue ${name} is being moved`)
  const cancelled = await cancelRedrive(queue, newest.task)
  return done(context, cancelled, `${cancelled.task}: ${cancelled.state}`)
}

export function queueMove(
  context: Context,
  { name, to }: { readonly name: string; readonly to: string },
  options: RedriveOptions,
): Promise<number> {
  return redrive(context, { queue: at(context, name, options), to }, options)
}

async function redrive(
  context: Context,
  { queue, to }: { readonly queue: NamedQueue; readonly to?: string },
  { perSecond: perSecondMax, detach = false }: RedriveOptions,
): Promise<number> {
  const terms = { ...(to && { to }), ...(perSecondMax && { perSecondMax }) }
  let task = await startRedrive(queue, terms)
  while (!detach && (task.state === 'running' || task.state === 'cancelling')) {
    await pause(REDRIVE_LOOK_MS)
    if (context.signal.aborted) {
      context.output.warn(`the move goes on: robust queue redrive ${queue.name} --cancel ends it`)
    }
    throwIfInterrupted(context)
    const started = task.task
    task = (await listRedrives(queue)).find((each) => each.task === started) ?? task
    context.output.progress(`${task.moved} of ${task.toMove} moved`)
  }
  if (task.state === 'failed' || task.state === 'cancelled') {
    throw new CliError('REDRIVE_ENDED', {
      message: `${task.moved} of ${task.toMove} messages were moved: ${task.state}`,
      ...(task.failure !== '' && { cause: task.failure }),
      exit: exitCodes.failed,
    })
  }
  const text = detach ? `${task.task}: ${task.state}` : `${task.moved} messages were moved`
  return done(context, task, text)
}

function show({ output, format }: Context, messages: readonly admin.QueueMessage[]): void {
  if (format === 'json') output.json({ messages: messages.map(asJson) })
  else for (const message of messages) output.print(line(message))
}

function line({ messageId, deliveries, value }: admin.QueueMessage): string {
  return [messageId, deliveries, Buffer.from(value ?? []).toString()].join('\t')
}

function asJson({ value, headers, timestampMs, ...message }: admin.QueueMessage) {
  return {
    ...message,
    time: new Date(timestampMs).toISOString(),
    value: value === undefined ? null : Buffer.from(value).toString(),
    headers: headers
      // What a dialect keeps for itself is not for people.
      .filter(({ name }) => !name.endsWith('-properties') && name !== 'delivery')
      .map(({ name, value: content }) => [name, Buffer.from(content).toString()]),
  }
}

function headersOf({ header = [], group, id, delayMs, priority }: SendOptions) {
  const headers: [name: string, value: string][] = header.map((text) => {
    const [, name = '', value = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? []
    if (name === '') throw usageError(`--header ${text} is not NAME=VALUE`)
    return [name, value]
  })
  if (group !== undefined) headers.push(['group', group])
  if (id !== undefined) headers.push(['deduplication-id', id])
  if (delayMs !== undefined) headers.push(['deliver-at', String(Date.now() + delayMs)])
  if (priority !== undefined) headers.push(['priority', String(priority)])
  return headers
}
