/** `robust acl`: what users may do. A rule is named by what it says, so the same one is there once. */

import { isIP } from 'node:net'
import {
  PERMISSION_ACTIONS,
  PERMISSION_SUBJECTS,
  type Permission,
  type PermissionAction,
  type PermissionSubject,
  permissionName,
} from '@robust/proto'
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
  readonly on?: string
  readonly prefix?: boolean
  readonly host?: string
}

export interface AskedRule extends Omit<Permission, 'action'> {
  readonly action: string
}

export async function aclAdd(
  context: Context,
  asked: AskedRule,
  options: AclOptions,
): Promise<number> {
  const { output, format } = context
  const action = oneOf(PERMISSION_ACTIONS, asked.action)
  const rule: Permission = { ...asked, action, ...subjectOf(options), ...mannerOf(options) }
  if (rule.on === undefined && rule.prefix === undefined) checkPattern(rule.pattern)
  const name = permissionName(rule)
  const change = { kind: 'permission', name, value: rule } as const
  await changeResources(addressesOf(context, options), [change], who())
  const { user, allow } = rule
  const text = `${user} ${allow ? 'may' : 'may not'} ${verbOf(rule)} ${namedBy(rule)}`
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
    .map(({ name, value }) => ({ id: name, ...(value as unknown as Permission) }))
    .filter((rule) => user === undefined || rule.user === user)
  if (format === 'json') output.json(rules)
  else {
    const columns = ['RULE', 'USER', '', 'ACTION', 'PATTERN'].map((title) => ({ title }))
    const rows = rules.map(({ id, ...rule }) => [
      ...[id, rule.user, rule.allow ? 'allow' : 'deny', rule.action],
      `${namedBy(rule)}${mannerText(rule)}`,
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

function mannerOf({ qos, retain }: AclOptions): Pick<Permission, 'qos' | 'retain'> {
  const levels = qos?.split(',').map(Number)
  if (levels?.every((level) => [0, 1, 2].includes(level)) === false) {
    throw usageError(`--qos ${qos} is none of 0, 1 and 2, nor a list of them`)
  }
  return {
    ...(levels && { qos: levels }),
    ...(retain !== undefined && { retain: retain === 'true' }),
  }
}

/** What the rule is about, where that is not an address by a filter. */
function subjectOf({ on, prefix, host }: AclOptions): Pick<Permission, 'on' | 'prefix' | 'host'> {
  if (host !== undefined && isIP(host) === 0) throw usageError(`--host ${host} is no address`)
  const subject = on === undefined ? undefined : oneOf(PERMISSION_SUBJECTS, on)
  return {
    ...(subject !== undefined && subject !== 'address' && { on: subject }),
    ...(prefix === true && { prefix }),
    ...(host !== undefined && { host }),
  }
}

function oneOf<T extends PermissionAction | PermissionSubject>(
  known: readonly T[],
  text: string,
): T {
  const found = known.find((one) => one === text)
  if (found === undefined) throw usageError(`${text} is none of ${known.join(', ')}`)
  return found
}

function mannerText({ qos, retain, host }: Pick<Permission, 'qos' | 'retain' | 'host'>): string {
  const ofQos = qos === undefined ? '' : ` (QoS ${qos.join(', ')})`
  const ofRetain = retain === undefined ? '' : retain ? ' (retained)' : ' (not retained)'
  return ofQos + ofRetain + (host === undefined ? '' : ` (from ${host})`)
}

function namedBy({ on, prefix, pattern }: Pick<Permission, 'on' | 'prefix' | 'pattern'>): string {
  return `${on === undefined ? '' : `${on} `}${pattern}${prefix === true ? '...' : ''}`
}

function verbOf({ action, on }: Pick<Permission, 'action' | 'on'>): string {
  if (action === 'all')
    return on === undefined ? 'publish, subscribe and do anything to' : 'do anything to'
  return action === 'publish' || action === 'subscribe' ? `${action} to` : action
}
