/** Access keys of users: by them SQS requests are signed. A secret is told when it is made, and never again. */
import { randomBytes } from 'node:crypto'
import { addressesOf, type TargetOptions, who } from '../cluster/target.ts'
import type { Context } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { table } from '../output.ts'
import { changeResources, listResources, type ResourceChange } from '../resources-client.ts'
import { existing } from './user.ts'

export interface KeyOptions extends TargetOptions {
  readonly account?: string
  readonly keyId?: string
  readonly secret?: string
}

const ID_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const ID_LENGTH = 16
const SECRET_BYTES = 30

export async function userAddKey(
  context: Context,
  user: string,
  options: KeyOptions,
): Promise<number> {
  const { account, keyId, secret } = options
  if (account !== undefined && !/^\d{12}$/.test(account)) {
    throw usageError(`--account ${account} is not the 12 digits of an account`)
  }
  if ((keyId === undefined) !== (secret === undefined)) {
    throw usageError('--key-id and --secret go together')
  }
  const id = keyId ?? madeUpId()
  if (!/^\w{3,128}$/.test(id)) {
    throw usageError(`--key-id ${id}: 3 to 128 letters, digits and underscores`)
  }
  const addresses = addressesOf(context, options)
  await existing(addresses, user)
  const value = {
    ...{ user, secret: secret ?? randomBytes(SECRET_BYTES).toString('base64') },
    ...(account !== undefined && { account }),
  }
  const change: ResourceChange = { kind: 'access-key', name: id, value, expectedVersion: 0 }
  await changeResources(addresses, [change], who()).catch((error: unknown) => {
    if (!(error instanceof CliError) || error.id !== 'CONFLICT') throw error
    const message = `there is an access key ${id} already`
    throw new CliError('ACCESS_KEY_EXISTS', { message, exit: exitCodes.failed })
  })
  const { output, format } = context
  if (format === 'json') output.json({ accessKeyId: id, secretAccessKey: value.secret, user })
  else {
    output.print(`AWS_ACCESS_KEY_ID=${id}`)
    output.print(`AWS_SECRET_ACCESS_KEY=${value.secret}`)
    output.warn('the secret is not shown again')
  }
  return exitCodes.ok
}

export async function userKeys(
  context: Context,
  user: string | undefined,
  options: TargetOptions,
): Promise<number> {
  const stored = await listResources(addressesOf(context, options), 'access-key')
  const keys = stored
    .map(({ name, value }) => ({
      accessKeyId: name,
      user: String(value['user']),
      account: String(value['account'] ?? '000000000000'),
    }))
    .filter((key) => user === undefined || key.user === user)
  const { output, format } = context
  if (format === 'json') output.json(keys)
  else {
    const columns = ['ACCESS KEY', 'USER', 'ACCOUNT'].map((title) => ({ title }))
    const rows = keys.map(({ accessKeyId, user: name, account }) => [accessKeyId, name, account])
    output.print(table(columns, rows, output.paint))
  }
  return exitCodes.ok
}

export async function userDeleteKey(
  context: Context,
  id: string,
  options: TargetOptions,
): Promise<number> {
  const addresses = addressesOf(context, options)
  const key = (await listResources(addresses, 'access-key')).find(({ name }) => name === id)
  if (key === undefined) {
    const message = `there is no access key ${id}`
    throw new CliError('NO_SUCH_ACCESS_KEY', { message, exit: exitCodes.notFound })
  }
  const { version: expectedVersion } = key
  const change = { kind: 'access-key', name: id, value: undefined, expectedVersion } as const
  await changeResources(addresses, [change], who())
  const { output, format } = context
  if (format === 'json') output.json({ accessKeyId: id, deleted: true })
  else output.print(`access key ${id} is deleted`)
  return exitCodes.ok
}

/** No secret: it need only be unlike others. */
function madeUpId(): string {
  const letters = Array.from(randomBytes(ID_LENGTH), (byte) => ID_LETTERS[byte % ID_LETTERS.length])
  return `AKIA${letters.join('')}`
}
