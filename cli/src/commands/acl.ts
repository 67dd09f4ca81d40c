/** `robust acl`: what users may do. A rule is named by what it says, so the same one is there once. */
import { createHash } from 'node:crypto'
import { addressesOf, type TargetOptions, who } from '../cluster/target.ts'
import type { Context } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { table } from '../output.ts'
import { changeResources, listResources } from '../resources-client.ts'

export interface AclOptions extends TargetOptions {
  /** Of 0, 1 and 2, by commas. */
  readonly qos?: string
  readonly retain?: 'true' | 'false'
}

export interface Rule {
  readonly user: string
  readonly action: string
  readonly pattern: string
  readonly allow: boolean
  readonly qos?: readonly number[]
  readonly retain?: boolean
}

const ACTIONS = ['publish', 'subscribe', 'all']
const ID_CHARACTERS = 10

export async function aclAdd(context: Context, asked: Rule, options: AclOptions): Promise<number> {
  const rule = { ...asked, ...mannerOf(options) }
  const { output, format } = context
  if (!ACTIONS.includes(rule.action))
    throw usageError(`${rule.action} is none of ${ACTIONS.join(', ')}`)
  checkPattern(rule.pattern)
  const name = idOf(rule)
  const change = { kind: 'permission', name, value: rule } as const
  await changeResources(addressesOf(context, options), [change], who())
  const { user, action, pattern, allow } = rule
  const text = `${user} ${allow ? 'may' : 'may not'} ${verbOf(action)} ${pattern}`
  if (format === 'json') output.json({ id: name, ...rule })
  else output.print(`${name}  ${text}${mannerText(rule)}`)
  return exitCodes.ok
}

export async function aclList(
  context: Context,
  user: string | undefined,
  options: AclOptions,
): Promise<number> {
  const { output, format } = context
  const stored = await listResources(addressesOf(context, options), 'permission')
  const rules = stored
    .map(({ name, value }) => ({ id: name, ...(value as unknown as Rule) }))
    .filter((rule) => user === undefined || rule.user === user)
  if (format === 'json') output.json(rules)
  else {
    const columns = ['RULE', 'USER', '', 'ACTION', 'PATTERN'].map((title) => ({ title }))
    const rows = rules.map(({ id, allow, action, pattern, ...rule }) => [
      ...[id, rule.user, allow ? 'allow' : 'deny', action, `${pattern}${mannerText(rule)}`],
    ])
    output.print(table(columns, rows, output.paint))
  }
  return exitCodes.ok
}

export async function aclDelete(
  context: Context,
  id: string,
  options: AclOptions,
): Promise<number> {
  const { output, format } = context
  const addresses = addressesOf(context, options)
  const rule = (await listResources(addresses, 'permission')).find(({ name }) => name === id)
  if (rule === undefined) {
    const message = `there is no rule ${id}`
    throw new CliError('NO_SUCH_RULE', {
      message,
      hint: 'robust acl list',
      exit: exitCodes.notFound,
    })
  }
  const gone = {
    kind: 'permission',
    name: id,
    value: undefined,
    expectedVersion: rule.version,
  } as const
  await changeResources(addresses, [gone], who())
  if (format === 'json') output.json({ id, deleted: true })
  else output.print(`rule ${id} is deleted`)
  return exitCodes.ok
}

function checkPattern(pattern: string): void {
  const levels = pattern.split('/')
  const good = levels.every((level, at) => {
    if (level === '#') return at === levels.length - 1
    return level === '+' || !/[+#]/.test(level)
  })
  if (pattern === '' || !good) throw usageError(`${JSON.stringify(pattern)} is no filter`)
}

function mannerOf({ qos, retain }: AclOptions): Pick<Rule, 'qos' | 'retain'> {
  const levels = qos?.split(',').map(Number)
  if (levels?.every((level) => [0, 1, 2].includes(level)) === false) {
    throw usageError(`--qos ${qos} is none of 0, 1 and 2, nor a list of them`)
  }
  return {
    ...(levels && { qos: levels }),
    ...(retain !== undefined && { retain: retain === 'true' }),
  }
}

function idOf({ user, action, pattern, allow, qos, retain }: Rule): string {
  const manner = qos === undefined && retain === undefined ? [] : [qos ?? null, retain ?? null]
  const text = JSON.stringify([user, action, pattern, allow, ...manner])
  return createHash('sha256').update(text).digest('hex').slice(0, ID_CHARACTERS)
}

function mannerText({ qos, retain }: Pick<Rule, 'qos' | 'retain'>): string {
  const ofQos = qos === undefined ? '' : ` (QoS ${qos.join(', ')})`
  const ofRetain = retain === undefined ? '' : retain ? ' (retained)' : ' (not retained)'
  return ofQos + ofRetain
}

function verbOf(action: string): string {
  if (action === 'all') return 'publish and subscribe to'
  return action === 'publish' ? 'publish to' : 'subscribe to'
}
