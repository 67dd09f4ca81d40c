/**
 * Rules that are kept one by one: `robust mqtt auto-subscription`, `robust mqtt rewrite`, `robust ban`. A rule is
 * named by what it says, so that the same one is there once.
 */
import { createHash } from 'node:crypto'
import { addressesOf, type TargetOptions, who } from '../cluster/target.ts'
import type { Context } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { table } from '../output.ts'
import { changeResources, listResources, type ResourceChange } from '../resources-client.ts'

export interface AutoSubscriptionOptions extends TargetOptions {
  readonly qos?: string
  readonly noLocal?: boolean
  readonly retainAsPublished?: boolean
  readonly retainHandling?: string
}

export interface RewriteOptions extends TargetOptions {
  /** Lower ones are tried first. */
  readonly order?: string
}

export interface BanOptions extends TargetOptions {
  readonly forSeconds?: string
  readonly reason?: string
}

type Kind = 'auto-subscription' | 'topic-rewrite' | 'ban'

const ID_CHARACTERS = 10
const ORDER_MAX = 9_999
const ACTIONS = ['publish', 'subscribe', 'all']
const BANNED = ['client', 'user', 'address']

export function autoSubscriptionAdd(
  context: Context,
  topic: string,
  options: AutoSubscriptionOptions,
): Promise<number> {
  checkFilter(topic)
  const value = {
    topic,
    qos: whole(options.qos ?? '0', { name: '--qos', max: 2 }),
    noLocal: options.noLocal ?? false,
    retainAsPublished: options.retainAsPublished ?? false,
    retainHandling: whole(options.retainHandling ?? '0', { name: '--retain-handling', max: 2 }),
  }
  return add(context, { kind: 'auto-subscription', name: idOf(topic), value }, options)
}

export function rewriteAdd(
  context: Context,
  rule: { readonly action: string; readonly filter: string; readonly target: string },
  options: RewriteOptions,
): Promise<number> {
  if (!ACTIONS.includes(rule.action)) {
    throw usageError(`${rule.action} is none of ${ACTIONS.join(', ')}`)
  }
  checkFilter(rule.filter)
  const order = whole(options.order ?? '100', { name: '--order', max: ORDER_MAX })
  const name = `${String(order).padStart(4, '0')}-${idOf(rule.action, rule.filter, rule.target)}`
  return add(context, { kind: 'topic-rewrite', name, value: rule }, options)
}

export function banAdd(
  context: Context,
  { kind, name }: { readonly kind: string; readonly name: string },
  options: BanOptions,
): Promise<number> {
  if (!BANNED.includes(kind)) throw usageError(`${kind} is none of ${BANNED.join(', ')}`)
  const { forSeconds, reason } = options
  const limits = { name: '--for', max: 10 * 365 * 86_400 }
  const until = forSeconds && Date.now() + whole(forSeconds, limits) * 1_000
  const value = { kind, who: name, ...(until && { until }), ...(reason && { reason }) }
  return add(context, { kind: 'ban', name: idOf(kind, name), value }, options)
}

export async function ruleList(
  context: Context,
  kind: Kind,
  options: TargetOptions,
): Promise<number> {
  const { output, format } = context
  const rules = (await listResources(addressesOf(context, options), kind))
    .map(({ name, value }) => ({ id: name, ...value }))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
  if (format === 'json') {
    output.json(rules)
    return exitCodes.ok
  }
  const columns = ['RULE', 'SAYS'].map((title) => ({ title }))
  const rows = rules.map(({ id, ...says }) => [id, described(says)])
  output.print(table(columns, rows, output.paint))
  return exitCodes.ok
}

export async function ruleDelete(
  context: Context,
  { kind, id }: { readonly kind: Kind; readonly id: string },
  options: TargetOptions,
): Promise<number> {
  const addresses = addressesOf(context, options)
  const rule = (await listResources(addresses, kind)).find(({ name }) => name === id)
  if (rule === undefined) {
    const message = `there is no rule ${id}`
    throw new CliError('NO_SUCH_RULE', { message, exit: exitCodes.notFound })
  }
  const gone = { kind, name: id, value: undefined, expectedVersion: rule.version }
  await changeResources(addresses, [gone], who())
  const { output, format } = context
  if (format === 'json') output.json({ id, deleted: true })
  else output.print(`rule ${id} is deleted`)
  return exitCodes.ok
}

export function banRemove(
  context: Context,
  { kind, name }: { readonly kind: string; readonly name: string },
  options: TargetOptions,
): Promise<number> {
  return ruleDelete(context, { kind: 'ban', id: idOf(kind, name) }, options)
}

async function add(
  context: Context,
  change: ResourceChange & { readonly value: object },
  options: TargetOptions,
): Promise<number> {
  await changeResources(addressesOf(context, options), [change], who())
  const { output, format } = context
  if (format === 'json') output.json({ id: change.name, ...change.value })
  else output.print(`${change.name}  ${described(change.value)}`)
  return exitCodes.ok
}

function described(says: object): string {
  return Object.entries(says)
    .map(([name, value]) => {
      const shown = name === 'until' ? new Date(Number(value)).toISOString() : String(value)
      return `${name}=${shown}`
    })
    .join(' ')
}

function checkFilter(filter: string): void {
  const levels = filter.split('/')
  const good = levels.every((level, at) =>
    level === '#' ? at === levels.length - 1 : level === '+' || !/[+#]/.test(level),
  )
  if (filter === '' || !good) throw usageError(`${JSON.stringify(filter)} is no filter`)
}

function whole(text: string, { name, max }: { name: string; max: number }): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw usageError(`${name} ${text} is not a whole number up to ${max}`)
  }
  return value
}

function idOf(...parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, ID_CHARACTERS)
}
