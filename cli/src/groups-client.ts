/** Groups of consumers: every broker tells of those that it coordinates; changes go to the one that does. */
import type { admin } from '@robust/proto'
import { askBroker } from './clients.ts'
import { leaderStatus } from './cluster/readiness.ts'
import { CliError } from './errors.ts'
import { exitCodes } from './exit-codes.ts'

/** Where to ask, and for which group. */
export interface NamedGroup {
  readonly addresses: readonly string[]
  readonly name: string
}

type Ask<T> = (address: string) => Promise<T | undefined>

/** The group with the coordinator's address; throws NO_SUCH_GROUP, UNREACHABLE or REFUSED, as all below. */
export async function describeGroup({ addresses, name }: NamedGroup): Promise<admin.Group> {
  const { group } = await coordinator<admin.DescribeGroupReply>(addresses, (address) =>
    askBroker(address, (client, call, done) =>
      client.describeGroup({ name }, call.metadata, call.options, done),
    ),
  )
  if (group === undefined) throw noSuchGroup(name)
  return group
}

/** False: the group was made. */
export async function seekGroup(
  { addresses, name }: NamedGroup,
  offsets: readonly admin.SoughtOffset[],
): Promise<boolean> {
  const request = { name, offsets: [...offsets] }
  const { existed } = await coordinator<admin.GroupReply>(addresses, (address) =>
    askBroker(address, (client, call, done) =>
      client.seekGroup(request, call.metadata, call.options, done),
    ),
  )
  return existed
}

export async function deleteGroup({ addresses, name }: NamedGroup): Promise<void> {
  const { existed } = await coordinator<admin.GroupReply>(addresses, (address) =>
    askBroker(address, (client, call, done) =>
      client.deleteGroup({ name }, call.metadata, call.options, done),
    ),
  )
  if (!existed) throw noSuchGroup(name)
}

/** Of the first record of that time or later; undefined: all are earlier. */
export async function findOffset(
  addresses: readonly string[],
  request: admin.FindOffsetRequest,
): Promise<number | undefined> {
  const { offset } = await firstOf<admin.FindOffsetReply>(
    addresses,
    (address) =>
      askBroker(address, (client, call, done) =>
        client.findOffset(request, call.metadata, call.options, done),
      ),
    ({ owns }) => owns,
  )
  return offset
}

function coordinator<T extends { readonly coordinates: boolean }>(
  addresses: readonly string[],
  ask: Ask<T>,
): Promise<T> {
  return firstOf(addresses, ask, ({ coordinates }) => coordinates)
}

/** One broker after the other, so that a change is asked for once. */
async function firstOf<T>(
  addresses: readonly string[],
  ask: Ask<T>,
  isMeant: (reply: T) => boolean,
): Promise<T> {
  const status = await leaderStatus(addresses)
  for (const { grpcAddress } of status?.metadata?.nodes ?? []) {
    const reply = await ask(grpcAddress)
    if (reply !== undefined && isMeant(reply)) return reply
  }
  const message = 'no broker has it now, or none answers'
  throw new CliError('UNREACHABLE', { message, exit: exitCodes.unreachable })
}

function noSuchGroup(name: string): CliError {
  return new CliError('NO_SUCH_GROUP', {
    message: `there is no group ${name}`,
    hint: 'robust group list',
    exit: exitCodes.notFound,
  })
}
