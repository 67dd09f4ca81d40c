/** `robust placement|broker|storage|network start`: one role. Its own program reads the arguments and sets the exit code. */
import { isPortFree } from '../cluster/ports.ts'
import type { Role, StateStore } from '../cluster/state.ts'
import { isShared, portStep, standardPorts, strictUrl } from '../cluster/topology.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'

export interface RoleContext {
  readonly store: StateStore
  readonly stderr: (text: string) => void
}

const SLOTS = 100
const HOST = '127.0.0.1'

export async function startRole(
  role: Role,
  args: readonly string[],
  context: RoleContext,
): Promise<void> {
  if (role === 'placement') {
    const { placementMain } = await import('@robust/placement')
    await placementMain(args)
  } else if (role === 'storage') {
    const { storageMain } = await import('@robust/storage-adapters')
    await storageMain(args)
  } else if (role === 'network') {
    const { networkMain } = await import('../network/network-main.ts')
    await networkMain(args)
  } else {
    const own = takeDurability(args)
    const more = await portFlags(own, context)
    const { brokerMain } = await import('@robust/broker')
    await brokerMain([...own, ...more])
  }
}

/** `--durability` of a broker is said to its storage in the URL. */
function takeDurability(args: readonly string[]): readonly string[] {
  const level = flagValue(args, '--durability')
  if (level === undefined) return args
  if (level !== 'strict' && level !== 'as-configured') {
    throw usageError(`--durability ${level} is not strict or as-configured`)
  }
  const at = args.indexOf('--durability')
  const rest = args.filter(
    (arg, index) => !arg.startsWith('--durability=') && (at < 0 || index < at || index > at + 1),
  )
  const url = flagValue(rest, '--storage')
  if (level !== 'strict' || url === undefined) return rest
  if (url === 'memory:') throw usageError('--durability strict: memory: keeps nothing')
  if (!isShared(url)) return rest
  return rest.map((arg) => (arg.endsWith(url) ? arg.replace(url, () => strictUrl(url)) : arg))
}

/** A broker that is given no port takes the first place where nobody is, nor a cluster of ours belongs. */
async function portFlags(
  args: readonly string[],
  { store, stderr }: RoleContext,
): Promise<readonly string[]> {
  const names = new Set(args.map((arg) => arg.replace(/=.*/, '')))
  const given = [
    '--mqtt-port',
    '--ws-port',
    '--sqs-port',
    '--kafka-port',
    '--http-port',
    '--grpc-port',
    '--help',
  ]
  if (given.some((flag) => names.has(flag))) return []
  const host = flagValue(args, '--host') ?? HOST
  const slot = await freeSlot(host, takenPorts(store))
  const found = Object.entries(slot)
  const text = found.map(([name, port]) => `${name} ${host}:${port}`).join(', ')
  stderr(`no port was given; free are ${text}\n`)
  return found.flatMap(([name, port]) => [`--${name}-port`, String(port)])
}

type Slot = Readonly<Record<'mqtt' | 'ws' | 'sqs' | 'kafka' | 'http' | 'grpc', number>>

/** Throws PORT_IN_USE when every place is taken. */
export async function freeSlot(host: string, taken: ReadonlySet<number>): Promise<Slot> {
  for (let slot = 0; slot < SLOTS; slot++) {
    const mqtt = standardPorts.mqtt + portStep * slot
    const ws = standardPorts.ws + portStep * slot
    const grpc = standardPorts.brokerGrpc + portStep * slot
    const http = standardPorts.http + portStep * slot
    const sqs = standardPorts.sqs + portStep * slot
    const kafka = standardPorts.kafka + portStep * slot
    const ports = [mqtt, ws, sqs, kafka, http, grpc]
    if (ports.some((port) => taken.has(port))) continue
    const free = await Promise.all(ports.map((port) => isPortFree(host, port)))
    if (free.every((each) => each)) return { mqtt, ws, sqs, kafka, http, grpc }
  }
  throw new CliError('PORT_IN_USE', {
    message: `none of the ${SLOTS} places for the ports of a broker is free`,
    hint: 'robust broker start --mqtt-port PORT --grpc-port PORT ...',
    exit: exitCodes.cannotCreate,
  })
}

/** Ports of our clusters' nodes, also of those that are stopped: they will want them again. */
function takenPorts(store: StateStore): ReadonlySet<number> {
  const nodes = store.list().flatMap((name) => store.read(name)?.nodes ?? [])
  return new Set(nodes.flatMap(({ ports }) => Object.values(ports)))
}

function flagValue(args: readonly string[], flag: string): string | undefined {
  const at = args.indexOf(flag)
  if (at >= 0) return args[at + 1]
  return args.find((arg) => arg.startsWith(`${flag}=`))?.slice(flag.length + 1)
}
