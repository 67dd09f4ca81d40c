/** `robust bridge`: to and from other MQTT brokers. A password is kept in the metadata and shown nowhere. */
import { readFileSync } from 'node:fs'
import { listBridges } from '../administration-client.ts'
import { addressesOf, type TargetOptions, who } from '../cluster/target.ts'
import type { Context } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { table } from '../output.ts'
import { changeResources, listResources, type StoredResource } from '../resources-client.ts'

export interface BridgeOptions extends TargetOptions {
  readonly in?: readonly string[]
  readonly out?: readonly string[]
  readonly user?: string
  readonly password?: string
  readonly passwordFile?: string
  readonly ca?: string
  readonly insecure?: boolean
  readonly protocol?: string
  readonly clientId?: string
  readonly keepAlive?: string
  readonly replace?: boolean
}

interface Rule {
  readonly filter: string
  readonly qos: number
  readonly prefix: string
}

const PROTOCOLS: Readonly<Record<string, number>> = { '5': 5, '3.1.1': 4 }
const PAGE = { filter: '', after: '', limit: 10_000 }
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/

export async function bridgeAdd(
  context: Context,
  { name, url }: { readonly name: string; readonly url: string },
  options: BridgeOptions,
): Promise<number> {
  if (!NAME.test(name)) throw usageError(`${name}: a name is made of letters, digits and ._-`)
  const value = definitionOf(url, options)
  const addresses = addressesOf(context, options)
  const change = { kind: 'bridge', name, value } as const
  const expected = options.replace === true ? {} : { expectedVersion: 0 }
  await changeResources(addresses, [{ ...change, ...expected }], who()).catch((error: unknown) => {
    if (!(error instanceof CliError) || error.id !== 'CONFLICT') throw error
    const message = `there is a bridge ${name} already`
    const hint = 'robust bridge add --replace'
    throw new CliError('BRIDGE_EXISTS', { message, hint, exit: exitCodes.failed })
  })
  const { output, format } = context
  if (format === 'json') output.json(shownOf({ name, version: 0, value }))
  else output.print(`bridge ${name} is there; how it is: robust bridge status`)
  return exitCodes.ok
}

export async function bridgeList(context: Context, options: TargetOptions): Promise<number> {
  const bridges = (await listResources(addressesOf(context, options), 'bridge')).map(shownOf)
  const { output, format } = context
  if (format === 'json') {
    output.json(bridges)
    return exitCodes.ok
  }
  const columns = ['BRIDGE', 'TO', 'IN', 'OUT'].map((title) => ({ title }))
  const rows = bridges.map(({ name, url, in: incoming, out }) => [
    name,
    String(url),
    describeRules(incoming),
    describeRules(out),
  ])
  output.print(table(columns, rows, output.paint))
  return exitCodes.ok
}

export async function bridgeShow(
  context: Context,
  name: string,
  options: TargetOptions,
): Promise<number> {
  const shown = shownOf(await existing(addressesOf(context, options), name))
  const { output, format } = context
  if (format === 'json') {
    output.json(shown)
    return exitCodes.ok
  }
  const { in: incoming, out, ...facts } = shown
  const lines = [
    ...Object.entries(facts).map(([title, value]) => [title, String(value)]),
    ...incoming.map((rule, at) => [at === 0 ? 'in' : '', describeRule(rule)]),
    ...out.map((rule, at) => [at === 0 ? 'out' : '', describeRule(rule)]),
  ]
  output.print(lines.map(([title = '', text]) => `${title.padEnd(16)} ${text}`).join('\n'))
  return exitCodes.ok
}

export async function bridgeRemove(
  context: Context,
  name: string,
  options: TargetOptions,
): Promise<number> {
  const addresses = addressesOf(context, options)
  const { version } = await existing(addresses, name)
  const gone = { kind: 'bridge', name, value: undefined, expectedVersion: version } as const
  await changeResources(addresses, [gone], who())
  const { output, format } = context
  if (format === 'json') output.json({ name, removed: true })
  else
    output.print(`bridge ${name} is removed; what waited for the other side goes with its session`)
  return exitCodes.ok
}

/** Exits with 1 while a bridge has no connection. */
export async function bridgeStatus(context: Context, options: TargetOptions): Promise<number> {
  const addresses = addressesOf(context, options)
  const known = await listResources(addresses, 'bridge')
  const running = new Map(
    (await listBridges(addresses, PAGE)).items.map((bridge) => [bridge.name, bridge]),
  )
  const bridges = known.map(({ name }) => running.get(name) ?? nowhere(name))
  const isWell = bridges.every(({ state }) => state === 'connected')
  const { output, format } = context
  if (format === 'json') output.json(bridges)
  else output.print(table(COLUMNS, bridges.map(rowOf), output.paint))
  return isWell ? exitCodes.ok : exitCodes.failed
}

const COLUMNS = [
  ...['BRIDGE', 'STATE', 'SINCE', 'BROKER', 'TO'].map((title) => ({ title })),
  ...['RECEIVED', 'SENT', 'LOOPED', 'REFUSED', 'RECONNECTS'].map((title) => ({
    title,
    right: true,
  })),
  { title: 'LAST ERROR' },
]

type Status = ReturnType<typeof nowhere>

function rowOf(status: Status): string[] {
  const { name, state, sinceMs, node, remote, received, sent, looped, refused } = status
  const since = sinceMs === 0 ? '-' : new Date(sinceMs).toISOString().replace(/\..*/, 'Z')
  const counts = [received, sent, looped, refused, status.reconnects].map(String)
  return [name, state, since, node || '-', remote || '-', ...counts, status.lastError || '-']
}

/** Its shard is between two owners. */
function nowhere(name: string) {
  return {
    ...{ name, node: '', state: 'moving', remote: '', sinceMs: 0, lastError: '' },
    ...{ reconnects: 0, received: 0, sent: 0, looped: 0, refused: 0 },
  }
}

function definitionOf(url: string, options: BridgeOptions) {
  const { user, ca, insecure, clientId, keepAlive } = options
  const protocol = PROTOCOLS[options.protocol ?? '5']
  if (protocol === undefined) throw usageError(`--protocol ${options.protocol} is not 5 or 3.1.1`)
  const incoming = (options.in ?? []).map(ruleOf)
  const out = (options.out ?? []).map(ruleOf)
  if (incoming.length + out.length === 0) {
    throw usageError('a bridge without --in and --out carries nothing', "--in 'sensors/# 1 plant/'")
  }
  const password = passwordOf(options)
  return {
    ...{ url, protocol, in: incoming, out },
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
    ...(ca !== undefined && { authorities: readFile('--ca', ca) }),
    ...(insecure === true && { insecure }),
    ...(clientId !== undefined && { clientId }),
    ...(keepAlive !== undefined && { keepAliveSeconds: Number(keepAlive) }),
  }
}

function passwordOf({ password, passwordFile }: BridgeOptions): string | undefined {
  if (passwordFile === undefined) return password
  return readFile('--password-file', passwordFile).replace(/\r?\n$/, '')
}

function readFile(flag: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw usageError(`${flag} ${path}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** `FILTER [QOS [PREFIX]]`. */
function ruleOf(text: string): Rule {
  const [, filter = '', qos = '1', prefix = ''] =
    /^(\S+)(?: +([012])(?: +(\S+))?)?$/.exec(text) ?? []
  const levels = filter.split('/')
  const isGood = levels.every((level, at) =>
    level === '#' ? at === levels.length - 1 : level === '+' || !/[+#]/.test(level),
  )
  if (filter === '' || !isGood || /[+#]/.test(prefix)) {
    throw usageError(`${JSON.stringify(text)} is not FILTER [QOS [PREFIX]]`, "'sensors/# 1 plant/'")
  }
  return { filter, qos: Number(qos), prefix }
}

interface Shown {
  readonly name: string
  readonly url: string
  readonly in: readonly Rule[]
  readonly out: readonly Rule[]
}

/** All but the password. */
function shownOf({ name, value }: StoredResource): Shown {
  const { password, authorities, ...rest } = value
  const secrets = {
    ...(password !== undefined && { password: '***' }),
    ...(authorities !== undefined && { authorities: 'given' }),
  }
  return { name, ...rest, ...secrets } as unknown as Shown
}

function describeRules(rules: readonly Rule[]): string {
  return rules.map(describeRule).join(', ') || '-'
}

function describeRule({ filter, qos, prefix }: Rule): string {
  return prefix === '' ? `${filter} (QoS ${qos})` : `${filter} (QoS ${qos}, below ${prefix})`
}

async function existing(addresses: readonly string[], name: string): Promise<StoredResource> {
  const bridge = (await listResources(addresses, 'bridge')).find((one) => one.name === name)
  if (bridge !== undefined) return bridge
  throw new CliError('NO_SUCH_BRIDGE', {
    message: `there is no bridge ${name}`,
    hint: 'robust bridge list',
    exit: exitCodes.notFound,
  })
}
