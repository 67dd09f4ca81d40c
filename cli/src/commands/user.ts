/** `robust user`: who may connect. Passwords leave this process as hashes only. */
import { addressesOf, type TargetOptions, who } from '../cluster/target.ts'
import type { Context } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { table } from '../output.ts'
import {
  changeResources,
  listResources,
  type ResourceChange,
  type StoredResource,
} from '../resources-client.ts'

export interface UserOptions extends TargetOptions {
  readonly admin?: boolean
  /** False: the user has none. */
  readonly password?: string | false
}

/** Read from the standard input up to here. */
const PASSWORD_BYTES_MAX = 1_024
const NAME_BYTES_MAX = 255

export async function userCreate(
  context: Context,
  name: string,
  options: UserOptions,
): Promise<number> {
  if (name === '*' || name === '' || Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw usageError(`${JSON.stringify(name)} is no name for a user`)
  }
  const credentials = await credentialsOf(options)
  const value = { credentials, tags: options.admin ? ['admin'] : [] }
  const change: ResourceChange = { kind: 'user', name, value, expectedVersion: 0 }
  await changeResources(addressesOf(context, options), [change], who()).catch((error: unknown) => {
    if (!(error instanceof CliError) || error.id !== 'CONFLICT') throw error
    const message = `there is a user ${name} already`
    throw new CliError('USER_EXISTS', { message, exit: exitCodes.failed })
  })
  const rights = options.admin ? 'may do everything' : 'may do nothing yet: robust acl allow'
  return told(context, { user: name, created: true }, `user ${name} ${rights}`)
}

export async function userPassword(
  context: Context,
  name: string,
  options: UserOptions,
): Promise<number> {
  const credentials = await credentialsOf(options)
  await change(context, name, { options, edit: (value) => ({ ...value, credentials }) })
  return told(context, { user: name, changed: true }, `user ${name} has another password`)
}

export async function userDisable(
  context: Context,
  name: string,
  options: UserOptions,
): Promise<number> {
  await change(context, name, { options, edit: (value) => ({ ...value, disabled: true }) })
  return told(context, { user: name, disabled: true }, `user ${name} is disabled`)
}

export async function userEnable(
  context: Context,
  name: string,
  options: UserOptions,
): Promise<number> {
  await change(context, name, { options, edit: (value) => ({ ...value, disabled: false }) })
  return told(context, { user: name, disabled: false }, `user ${name} is enabled`)
}

export async function userDelete(
  context: Context,
  name: string,
  options: UserOptions,
): Promise<number> {
  const addresses = addressesOf(context, options)
  const { version } = await existing(addresses, name)
  const rules = await listResources(addresses, 'permission')
  const own = rules.filter(({ value }) => value['user'] === name)
  const gone: ResourceChange[] = own.map((rule) => ({
    ...{ kind: 'permission', name: rule.name, value: undefined },
    expectedVersion: rule.version,
  }))
  const keys = await listResources(addresses, 'access-key')
  for (const key of keys.filter(({ value }) => value['user'] === name)) {
    const { version: expectedVersion } = key
    gone.push({ kind: 'access-key', name: key.name, value: undefined, expectedVersion })
  }
  const user: ResourceChange = { kind: 'user', name, value: undefined, expectedVersion: version }
  await changeResources(addresses, [user, ...gone], who())
  return told(context, { user: name, deleted: true }, `user ${name} is deleted`)
}

export async function userList(context: Context, options: UserOptions): Promise<number> {
  const { output, format } = context
  const users = (await listResources(addressesOf(context, options), 'user')).map((user) => ({
    user: user.name,
    admin: isAdmin(user),
    password: hasPassword(user),
    scram: scramOf(user),
    disabled: user.value['disabled'] === true,
  }))
  if (format === 'json') output.json(users)
  else {
    const columns = ['USER', 'ADMIN', 'PASSWORD', 'SCRAM', 'DISABLED'].map((title) => ({ title }))
    const word = (is: boolean): string => (is ? 'yes' : 'no')
    const rows = users.map(({ user, admin, password, scram, disabled }) => [
      ...[user, word(admin), word(password), scram.join(' ') || '-', word(disabled)],
    ])
    output.print(table(columns, rows, output.paint))
  }
  return exitCodes.ok
}

function isAdmin({ value }: StoredResource): boolean {
  return Array.isArray(value['tags']) && value['tags'].includes('admin')
}

function hasPassword({ value }: StoredResource): boolean {
  const credentials = value['credentials'] as Record<string, unknown> | undefined
  return credentials?.['password'] !== undefined
}

/** A password that was set before a method was known here lets nobody in by it, until it is set again. */
function scramOf({ value }: StoredResource): string[] {
  const credentials = (value['credentials'] ?? {}) as Record<string, unknown>
  const fields = { 'SHA-256': 'scram', 'SHA-512': 'scram512' }
  return Object.entries(fields).flatMap(([name, field]) =>
    credentials[field] === undefined ? [] : [name],
  )
}

async function credentialsOf({ password }: UserOptions): Promise<object> {
  if (password === false) return {}
  const given = password ?? (await readPassword())
  if (given === '') throw usageError('the password is empty')
  const { hashPassword, scramVerifiers } = await import('@robust/broker')
  return { password: await hashPassword(given), ...(await scramVerifiers(given)) }
}

async function readPassword(): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer)
    bytes += (chunk as Buffer).length
    if (bytes > PASSWORD_BYTES_MAX) throw usageError('the password is too long')
    if ((chunk as Buffer).includes(10)) break
  }
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n[\s\S]*$/, '')
}

async function change(
  context: Context,
  name: string,
  { options, edit }: { options: UserOptions; edit: (value: StoredResource['value']) => object },
): Promise<void> {
  const addresses = addressesOf(context, options)
  const { version, value } = await existing(addresses, name)
  const change: ResourceChange = {
    kind: 'user',
    name,
    value: edit(value),
    expectedVersion: version,
  }
  await changeResources(addresses, [change], who())
}

/** Throws NO_SUCH_USER. */
export async function existing(
  addresses: readonly string[],
  name: string,
): Promise<StoredResource> {
  const users = await listResources(addresses, 'user')
  const user = users.find((one) => one.name === name)
  if (user !== undefined) return user
  throw new CliError('NO_SUCH_USER', {
    message: `there is no user ${name}`,
    hint: 'robust user list',
    exit: exitCodes.notFound,
  })
}

function told({ output, format }: Context, json: object, text: string): number {
  if (format === 'json') output.json(json)
  else output.print(text)
  return exitCodes.ok
}
