/**
 * The gRPC calls of the command line: each is made once, with a deadline, on a connection of its own. An
 * address that does not answer is an answer here (undefined), except for calls that change something.
 */
import {
  type ClientOptions,
  type ClientUnaryCall,
  credentials,
  Metadata,
  makeGenericClientConstructor,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { admin, control, placement } from '@robust/proto'
import { CliError } from './errors.ts'
import { exitCodes } from './exit-codes.ts'

/** How long a look at one node may take. */
export const lookMs = 700

/** How long a change may take; it waits for a commit. */
const changeMs = 5000

/** A pool of its own: no failed attempt of an earlier call delays this one. */
export const channelOptions: ClientOptions = {
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 200,
  'grpc.enable_http_proxy': 0,
  // A page of large messages: as much as brokers send.
  'grpc.max_receive_message_length': 128 * 1024 * 1024,
}

type Done<T> = (error: ServiceError | null, reply: T) => void

interface Call {
  readonly metadata: Metadata
  readonly options: { readonly deadline: number }
}

/** Undefined when the node does not answer in time. */
export function placementStatus(
  address: string,
  deadlineMs = lookMs,
): Promise<placement.StatusReply | undefined> {
  return look(
    askPlacement<placement.StatusReply>(address, deadlineMs, (client, call, done) =>
      client.status({}, call.metadata, call.options, done),
    ),
  )
}

/** As Prometheus reads it; undefined when the node does not answer in time. */
export async function placementMetrics(address: string): Promise<string | undefined> {
  const reply = await look(
    askPlacement<placement.MetricsReply>(address, lookMs, (client, call, done) =>
      client.metrics({}, call.metadata, call.options, done),
    ),
  )
  return reply?.text
}

/** Undefined when the node does not answer in time. */
export function placementEvents(
  address: string,
  request: placement.EventsRequest,
): Promise<placement.EventsReply | undefined> {
  return look(
    askPlacement<placement.EventsReply>(address, lookMs, (client, call, done) =>
      client.events(request, call.metadata, call.options, done),
    ),
  )
}

/** Undefined when the broker does not answer in time. */
export function inspectBroker(
  address: string,
  deadlineMs = lookMs,
): Promise<control.InspectReply | undefined> {
  const open = () =>
    new control.BrokerControlClient(address, credentials.createInsecure(), channelOptions)
  return look(
    ask<control.BrokerControlClient, control.InspectReply>(open, deadlineMs, (client, call, done) =>
      client.inspect({}, call.metadata, call.options, done),
    ),
  )
}

export interface AskOptions {
  readonly deadlineMs?: number
  /** Thrown when there is nothing of the name that is asked for. */
  readonly missing?: CliError
}

/** Undefined when the broker does not answer in time. Throws REFUSED when it answers that it will not. */
export async function askBroker<T>(
  address: string,
  invoke: Invoke<admin.BrokerAdminClient, T>,
  { deadlineMs = changeMs, missing }: AskOptions = {},
): Promise<T | undefined> {
  const open = () =>
    new admin.BrokerAdminClient(address, credentials.createInsecure(), channelOptions)
  try {
    return await ask(open, deadlineMs, invoke)
  } catch (cause) {
    const error = cause as ServiceError
    if (error.code === status.NOT_FOUND && missing !== undefined) throw missing
    if (isAbsence(error)) return undefined
    const message = error.details
    throw new CliError('REFUSED', { message, exit: exitCodes.failed })
  }
}

/** Whether the server at the address says that it serves. */
export async function isServing(address: string, deadlineMs = lookMs): Promise<boolean> {
  const open = () => new HealthClient(address, credentials.createInsecure(), channelOptions)
  const serving = await look(
    ask<HealthClient, boolean>(open, deadlineMs, (client, call, done) =>
      client.check(undefined, call.metadata, call.options, done),
    ),
  )
  return serving === true
}

/**
 * Asks the Placement Center's leader to move everything away from a broker. Answers how many shards are
 * still to be moved. Throws NO_LEADER, UNREACHABLE or REFUSED.
 */
export async function drainBroker(
  addresses: readonly string[],
  request: placement.DrainRequest,
): Promise<number> {
  const reply = await askLeader<placement.DrainReply>(addresses, (client, call, done) =>
    client.drain(request, call.metadata, call.options, done),
  )
  return reply.shards
}

type Invoke<C, T> = (client: C, call: Call, done: Done<T>) => ClientUnaryCall

/** Takes a drain back. Throws like drainBroker. */
export async function undrainBroker(
  addresses: readonly string[],
  request: placement.UndrainRequest,
): Promise<void> {
  await askLeader<placement.UndrainReply>(addresses, (client, call, done) =>
    client.undrain(request, call.metadata, call.options, done),
  )
}

/** Answers from where to where the shard is moved. Throws like drainBroker. */
export function moveShard(
  addresses: readonly string[],
  request: placement.MoveShardRequest,
): Promise<placement.MoveShardReply> {
  return askLeader(addresses, (client, call, done) =>
    client.moveShard(request, call.metadata, call.options, done),
  )
}

/** A call at one node. Undefined when it does not answer in time, or refuses. */
export function askNode<T>(
  address: string,
  invoke: Invoke<placement.PlacementClient, T>,
): Promise<T | undefined> {
  return look(askPlacement(address, changeMs, invoke))
}

/**
 * A call that the leader answers: each node once, and the leader that a follower names. Throws NO_LEADER,
 * UNREACHABLE, CONFLICT (a resource has another version) or REFUSED.
 */
export async function askLeader<T>(
  addresses: readonly string[],
  invoke: Invoke<placement.PlacementClient, T>,
): Promise<T> {
  const left = [...addresses]
  const asked = new Set<string>()
  let answered = false
  for (let address = left.shift(); address !== undefined; address = left.shift()) {
    if (asked.has(address)) continue
    asked.add(address)
    try {
      return await askPlacement(address, changeMs, invoke)
    } catch (cause) {
      const error = cause as ServiceError
      const leader = error.metadata?.get('leader-address')[0]?.toString()
      if (leader) left.unshift(leader)
      else if (!isAbsence(error)) throw refused(address, error)
      answered ||= leader !== undefined
    }
  }
  throw nobodyLeads(addresses, answered)
}

function isAbsence({ code }: ServiceError): boolean {
  return code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED
}

function refused(address: string, { code, details }: ServiceError): CliError {
  if (code === status.ABORTED) {
    const hint = 'look at what is there now, and decide again'
    return new CliError('CONFLICT', { message: details, hint, exit: exitCodes.failed })
  }
  return new CliError('REFUSED', {
    message: `the Placement Center (${address}) refused`,
    cause: details,
    exit: exitCodes.failed,
  })
}

function nobodyLeads(addresses: readonly string[], answered: boolean): CliError {
  if (answered) {
    const message = 'the Placement Center has no leader at the moment'
    return new CliError('NO_LEADER', { message, exit: exitCodes.tryAgain })
  }
  return new CliError('UNREACHABLE', {
    message: `no Placement Center node leads and answers at ${addresses.join(', ')}`,
    hint: 'robust cluster status',
    exit: exitCodes.unreachable,
  })
}

function askPlacement<T>(
  address: string,
  deadlineMs: number,
  invoke: Invoke<placement.PlacementClient, T>,
): Promise<T> {
  const open = () =>
    new placement.PlacementClient(address, credentials.createInsecure(), channelOptions)
  return ask(open, deadlineMs, invoke)
}

function ask<C extends { close(): void }, T>(
  open: () => C,
  deadlineMs: number,
  invoke: Invoke<C, T>,
): Promise<T> {
  const client = open()
  const call = { metadata: new Metadata(), options: { deadline: Date.now() + deadlineMs } }
  return new Promise<T>((resolve, reject) => {
    invoke(client, call, (error, reply) => {
      if (error) reject(error)
      else resolve(reply)
    })
  }).finally(() => client.close())
}

function look<T>(asked: Promise<T>): Promise<T | undefined> {
  return asked.catch(() => undefined)
}

/** grpc.health.v1.Health/Check, by hand: an empty request, and one enum in the reply. */
const HealthClient = makeGenericClientConstructor(
  {
    check: {
      path: '/grpc.health.v1.Health/Check',
      requestStream: false,
      responseStream: false,
      requestSerialize: () => Buffer.alloc(0),
      requestDeserialize: () => undefined,
      responseSerialize: () => Buffer.alloc(0),
      responseDeserialize: (bytes: Buffer) => bytes[0] === 0x08 && bytes[1] === SERVING,
    },
  },
  'grpc.health.v1.Health',
) as unknown as new (
  address: string,
  credentials: unknown,
  options: ClientOptions,
) => HealthClient

const SERVING = 1

interface HealthClient {
  check(
    request: undefined,
    metadata: Metadata,
    options: Call['options'],
    done: Done<boolean>,
  ): ClientUnaryCall
  close(): void
}
