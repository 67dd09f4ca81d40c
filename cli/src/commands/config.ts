/** `robust config`: settings that are changed at run time, with their history. */
import {
  isSettingName,
  parseSettingText,
  refusalOfSetting,
  SETTINGS,
  type SettingName,
  type SettingSchema,
  shownSetting,
} from '@robust/proto'
import { addressesOf, who } from '../cluster/target.ts'
import type { Context } from '../context.ts'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { table } from '../output.ts'
import {
  changeSetting,
  type StoredSetting,
  settingHistory,
  storedSettings,
} from '../settings-client.ts'

export interface ConfigOptions {
  /** Of the cluster. */
  readonly name?: string
  /** Of a cluster that has no state here. */
  readonly placement?: string
  readonly expectVersion?: number
}

const names = Object.keys(SETTINGS).filter(isSettingName)

export async function configList(context: Context, options: ConfigOptions): Promise<number> {
  const { output, format } = context
  const stored = await storedSettings(addressesOf(context, options))
  const settings = names.map((name) => settingJson(name, stored.get(name)))
  if (format === 'json') {
    output.json(settings)
    return exitCodes.ok
  }
  const columns = [
    { title: 'SETTING' },
    { title: 'VALUE', right: true },
    { title: 'DEFAULT', right: true },
    { title: 'UNIT' },
    { title: 'FOR' },
    { title: 'VERSION', right: true },
  ]
  const rows = settings.map(({ name, value, default: fallback, unit, role, version }) => {
    const shown = show(value)
    const isSet = version > 0
    const { paint } = output
    return [
      name,
      isSet ? paint.bold(shown) : shown,
      show(fallback),
      unit ?? '',
      role,
      isSet ? String(version) : '-',
    ]
  })
  output.print(table(columns, rows, output.paint))
  return exitCodes.ok
}

export async function configGet(
  context: Context,
  asked: string,
  options: ConfigOptions,
): Promise<number> {
  const name = settingName(asked)
  const stored = await storedSettings(addressesOf(context, options))
  const setting = settingJson(name, stored.get(name))
  if (context.format === 'json') context.output.json(setting)
  else context.output.print(show(setting.value))
  return exitCodes.ok
}

export function configDescribe({ output, format }: Context, asked: string): number {
  const name = settingName(asked)
  const schema: SettingSchema = SETTINGS[name]
  if (format === 'json') {
    output.json({ name, ...schema })
    return exitCodes.ok
  }
  const lines = [
    ['setting', name],
    ['means', schema.description],
    ['takes', rangeOf(schema)],
    ['default', show(schema.default)],
    ['for', schema.role === 'both' ? 'brokers and the Placement Center' : schema.role],
  ]
  const { paint } = output
  output.print(
    lines.map(([title = '', text]) => `${paint.dim(title.padEnd(8))} ${text}`).join('\n'),
  )
  return exitCodes.ok
}

export async function configHistory(
  context: Context,
  asked: string,
  options: ConfigOptions,
): Promise<number> {
  const { output, format } = context
  const name = settingName(asked)
  const history = await settingHistory(addressesOf(context, options), name)
  const versions = history.map(({ version, timeMs, value, by }) => ({
    version,
    time: new Date(timeMs).toISOString(),
    value: value === undefined ? null : shownSetting(JSON.parse(value)),
    by,
  }))
  if (format === 'json') {
    output.json(versions)
    return exitCodes.ok
  }
  const columns = [
    { title: 'VERSION', right: true },
    { title: 'TIME (UTC)' },
    { title: 'VALUE', right: true },
    { title: 'BY' },
  ]
  const rows = versions.map(({ version, time, value, by }) => [
    String(version),
    time.replace('T', ' ').replace(/\..*/, ''),
    value === null ? 'default' : show(value),
    by,
  ])
  output.print(table(columns, rows, output.paint))
  return exitCodes.ok
}

export async function configSet(
  context: Context,
  asked: { readonly name: string; readonly value: string },
  options: ConfigOptions,
): Promise<number> {
  const name = settingName(asked.name)
  const value = parseSettingText(asked.value)
  const refusal = refusalOfSetting(name, value)
  if (refusal !== undefined) {
    const hint = `robust config describe ${name}`
    throw new CliError('BAD_VALUE', { message: refusal, hint, exit: exitCodes.badData })
  }
  return change(context, { name, value: JSON.stringify(value) }, options)
}

export function configUnset(
  context: Context,
  asked: string,
  options: ConfigOptions,
): Promise<number> {
  return change(context, { name: settingName(asked), value: undefined }, options)
}

/** A rollback is a change like any other, and stands in the history. */
export async function configRollback(
  context: Context,
  asked: string,
  options: ConfigOptions & { readonly to?: number },
): Promise<number> {
  const name = settingName(asked)
  const history = await settingHistory(addressesOf(context, options), name)
  const isWanted = (version: number, at: number): boolean =>
    options.to === undefined ? at === history.length - 2 : version === options.to
  const before = history.find(({ version }, at) => isWanted(version, at))
  // Before its first version a setting had its default.
  const isFirst = before === undefined && options.to === undefined && history.length === 1
  if (before === undefined && !isFirst) {
    const kept = history.map(({ version }) => version).join(', ')
    throw new CliError('NO_SUCH_VERSION', {
      message: `${name} has no version ${options.to ?? 'before this one'}`,
      cause: kept === '' ? 'it was never set' : `kept are ${kept}`,
      exit: exitCodes.notFound,
    })
  }
  // Somebody else's change in between must not be undone unseen.
  const expectVersion = options.expectVersion ?? versionNow(history)
  return change(context, { name, value: before?.value }, { ...options, expectVersion })
}

function versionNow(history: Awaited<ReturnType<typeof settingHistory>>): number {
  const newest = history.at(-1)
  return newest?.value === undefined ? 0 : newest.version
}

async function change(
  context: Context,
  { name, value }: { readonly name: SettingName; readonly value: string | undefined },
  options: ConfigOptions,
): Promise<number> {
  const { output, format } = context
  const addresses = addressesOf(context, options)
  const expectedVersion = options.expectVersion
  const version = await changeSetting(addresses, { name, value, expectedVersion, by: who() })
  const shown = value === undefined ? SETTINGS[name].default : shownSetting(JSON.parse(value))
  if (format === 'json') {
    output.json({ name, value: shown, version: value === undefined ? 0 : version })
  } else if (value === undefined) output.print(`${name} is ${show(shown)} again, its default`)
  else output.print(`${name} is ${show(shown)} (version ${version})`)
  return exitCodes.ok
}

function settingJson(name: SettingName, stored: StoredSetting | undefined) {
  const { default: fallback, role, description, ...rest }: SettingSchema = SETTINGS[name]
  const value: unknown = stored === undefined ? fallback : shownSetting(JSON.parse(stored.value))
  const unit = 'unit' in rest ? rest.unit : undefined
  const version = stored?.version ?? 0
  return { name, value, default: fallback, unit, role, version, description }
}

function settingName(asked: string): SettingName {
  if (isSettingName(asked)) return asked
  const word = asked.split('.').at(-1) ?? asked
  const near = names.filter((name) => name.includes(word) || name.startsWith(`${asked}.`))
  throw new CliError('NO_SUCH_SETTING', {
    message: `there is no setting ${asked}`,
    ...(near.length > 0 && { cause: `did you mean ${near.join(', ')}?` }),
    hint: 'robust config list',
    exit: exitCodes.notFound,
  })
}

function rangeOf(schema: SettingSchema): string {
  if (schema.type === 'boolean') return 'true or false'
  if (schema.type === 'choice') return schema.choices.join(', ')
  if (schema.type === 'text') return `up to ${schema.bytesMax} bytes`
  return `a whole number from ${schema.min} to ${schema.max}, in ${schema.unit ?? 'units'}`
}

/** Without a value the process's own flag holds, or no limit; the description says which. */
function show(value: unknown): string {
  return value === null ? 'unset' : String(value)
}
