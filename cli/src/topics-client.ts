/** Topics as the Placement Center keeps them, and as brokers see them. */
import type { admin, placement } from '@robust/proto'
import { type TopicValue, topicValue } from '@robust/proto'
import { askBroker, askLeader } from './clients.ts'
import { leaderStatus } from './cluster/readiness.ts'
import { CliError } from './errors.ts'
import { exitCodes } from './exit-codes.ts'

export interface StoredTopic extends TopicValue {
  readonly name: string
  readonly created: number
  readonly version: number
}

const KIND = 'topic'
const DELETED = 'deleted-topic'
const TENANT = 'default'
const PAGE = 500

export async function listTopics(addresses: readonly string[]): Promise<readonly StoredTopic[]> {
  const topics: StoredTopic[] = []
  let pageToken = ''
  do {
    const request = { kind: KIND, tenant: TENANT, namePrefix: '', pageSize: PAGE, pageToken }
    const reply = await askLeader<placement.ListResourcesReply>(addresses, (client, call, done) =>
      client.listResources(request, call.metadata, call.options, done),
    )
    topics.push(...reply.resources.map(topicOf))
    pageToken = reply.nextPageToken
  } while (pageToken !== '')
  return topics
}

/** Throws NO_SUCH_TOPIC. */
export async function existingTopic(
  addresses: readonly string[],
  name: string,
): Promise<StoredTopic> {
  const request = { kind: KIND, tenant: TENANT, namePrefix: name, pageSize: 1, pageToken: '' }
  const reply = await askLeader<placement.ListResourcesReply>(addresses, (client, call, done) =>
    client.listResources(request, call.metadata, call.options, done),
  )
  const [first] = reply.resources
  if (first?.name === name) return topicOf(first)
  throw new CliError('NO_SUCH_TOPIC', {
    message: `there is no topic ${name}`,
    hint: 'robust topic list',
    exit: exitCodes.notFound,
  })
}

export interface TopicChange {
  readonly name: string
  /** As it is to be stored. */
  readonly value: object
  /** 0: it must not exist. */
  readonly expectedVersion: number
  /** Who. */
  readonly by: string
}

/** Throws CONFLICT when the expected version does not hold. */
export async function putTopic(
  addresses: readonly string[],
  { name, value, expectedVersion, by }: TopicChange,
): Promise<void> {
  const key = { kind: KIND, tenant: TENANT, name }
  await change(addresses, { changes: [{ key, value: JSON.stringify(value), expectedVersion }], by })
}

/** The owners of its partitions remove their records when they see what is put in its place. */
export async function deleteTopic(
  addresses: readonly string[],
  topic: StoredTopic,
  by: string,
): Promise<void> {
  const { name, version, created } = topic
  const gone = { key: { kind: KIND, tenant: TENANT, name }, expectedVersion: version }
  const key = { kind: DELETED, tenant: TENANT, name: String(created) }
  await change(addresses, { changes: [gone, { key, value: JSON.stringify({ name }) }], by })
}

async function change(
  addresses: readonly string[],
  request: placement.ChangeResourcesRequest,
): Promise<void> {
  await askLeader<placement.ChangeResourcesReply>(addresses, (client, call, done) =>
    client.changeResources(request, call.metadata, call.options, done),
  )
}

/** Each partition as its owner tells it, else as anyone does. Throws NO_LEADER or UNREACHABLE. */
export async function topicPartitions(
  addresses: readonly string[],
  name: string,
): Promise<readonly admin.TopicPartition[]> {
  const brokers = await brokersOf(addresses)
  const replies = await Promise.all(brokers.map(({ address }) => describeTopic(address, name)))
  const answered = replies.filter((reply) => reply !== undefined)
  const [first] = answered
  if (first === undefined) throw noBroker()
  return first.partitions.map((partition, at) => {
    const own = answered.find(({ partitions }) => partitions[at]?.hasReport === true)
    return own?.partitions[at] ?? partition
  })
}

interface Broker {
  readonly address: string
}

export async function brokersOf(addresses: readonly string[]): Promise<readonly Broker[]> {
  const status = await leaderStatus(addresses)
  if (status === undefined) {
    const message = `no Placement Center node leads and answers at ${addresses.join(', ')}`
    throw new CliError('NO_LEADER', { message, exit: exitCodes.tryAgain })
  }
  return (status.metadata?.nodes ?? []).map(({ grpcAddress: address }) => ({ address }))
}

export function noBroker(): CliError {
  return new CliError('UNREACHABLE', { message: 'no broker answers', exit: exitCodes.unreachable })
}

function describeTopic(
  address: string,
  name: string,
): Promise<admin.DescribeTopicReply | undefined> {
  const request = { tenant: TENANT, name }
  return askBroker(address, (client, call, done) =>
    client.describeTopic(request, call.metadata, call.options, done),
  )
}

export function readTopic(
  address: string,
  asked: Omit<admin.ReadTopicRequest, 'tenant'>,
): Promise<admin.ReadTopicReply | undefined> {
  const request = { tenant: TENANT, ...asked }
  return askBroker(address, (client, call, done) =>
    client.readTopic(request, call.metadata, call.options, done),
  )
}

function topicOf({ name, created, version, value }: placement.Resource): StoredTopic {
  return { name, created, version, ...topicValue(value) }
}
