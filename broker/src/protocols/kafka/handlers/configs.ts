/** DescribeConfigs, AlterConfigs, IncrementalAlterConfigs and ListConfigResources. */
import { BrokerError } from '../../../core/errors.ts'
import type { TopicSettings, TopicShape } from '../../../core/topics/topic-logs.ts'
import { CLUSTER_NAME } from '../acls.ts'
import { brokerConfigs } from '../broker-configs.ts'
import { type Call, may, maySee } from '../call.ts'
import type {
  ALTER_CONFIGS,
  DESCRIBE_CONFIGS,
  INCREMENTAL_ALTER_CONFIGS,
  LIST_CONFIG_RESOURCES,
} from '../codec/admin-apis.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import { type ShownConfig, TOPIC_CONFIGS, topicConfigs, withConfig } from '../configs.ts'
import { ERROR } from '../errors.ts'
import type { GroupConfigValues } from '../groups/group-configs.ts'

const TOPIC = 2
const BROKER = 4
const GROUP = 32
/** Nothing of these is kept here, so none is there. */
const CLIENT_METRICS = 16

interface Resource {
  readonly resourceType: number
  readonly resourceName: string
}

interface Failure {
  readonly errorCode: number
  readonly errorMessage: string | null
}

const FINE: Failure = { errorCode: ERROR.NONE, errorMessage: null }

function failed(errorCode: number, errorMessage: string): Failure {
  return { errorCode, errorMessage }
}

const NO_TOPIC = failed(ERROR.UNKNOWN_TOPIC_OR_PARTITION, 'there is no such topic')
const NO_RESOURCE = failed(
  ERROR.INVALID_REQUEST,
  'settings are of topics, of groups and of brokers here',
)
const NO_GROUP = failed(ERROR.GROUP_AUTHORIZATION_FAILED, 'not allowed')
const NO_BROKER = failed(ERROR.INVALID_REQUEST, 'ask the broker that it is about')

/** Undefined: it is there, and the client may do that with its settings. */
function refusalOf(
  call: Call,
  { resourceType, resourceName }: Resource,
  operation: 'describe-configs' | 'alter-configs',
): Failure | undefined {
  const { topics, members } = call.services
  if (resourceType === TOPIC) {
    if (!may(call, operation, ['address', resourceName])) {
      return failed(ERROR.TOPIC_AUTHORIZATION_FAILED, 'not allowed')
    }
    return topics.get(resourceName) === undefined ? NO_TOPIC : undefined
  }
  if (resourceType === GROUP) {
    return may(call, operation, ['group', resourceName]) ? undefined : NO_GROUP
  }
  if (resourceType !== BROKER) return NO_RESOURCE
  if (!may(call, operation, ['cluster', CLUSTER_NAME])) {
    return failed(ERROR.CLUSTER_AUTHORIZATION_FAILED, 'not allowed')
  }
  return ['', String(members.self)].includes(resourceName) ? undefined : NO_BROKER
}

type DescribeRequest = RequestOf<typeof DESCRIBE_CONFIGS>

export function describeConfigs(
  call: Call,
  request: DescribeRequest,
): ResponseOf<typeof DESCRIBE_CONFIGS> {
  const results = request.resources.map((asked) => {
    const { resourceType, resourceName, configNames } = asked
    const named = { resourceType, resourceName }
    const refusal = refusalOf(call, asked, 'describe-configs')
    if (refusal !== undefined) return { ...refusal, ...named, configs: [] }
    const all = allOf(call, asked)
    const wanted = all.filter(({ name }) => configNames?.includes(name) ?? true)
    return { ...FINE, ...named, configs: wanted.map((config) => asAsked(config, request)) }
  })
  return { throttleTimeMs: 0, results }
}

function allOf({ services }: Call, { resourceType, resourceName }: Resource): ShownConfig[] {
  const { topics, groupConfigs } = services
  if (resourceType === GROUP) return groupConfigs.shown(resourceName)
  if (resourceType === TOPIC) {
    return topicConfigs(topics.shape(resourceName)?.config ?? {}, topics.defaults)
  }
  // Without a name: what was set for all brokers, which is nothing here.
  return resourceName === '' ? [] : brokerConfigs(services)
}

function asAsked(config: ShownConfig, request: DescribeRequest) {
  return {
    ...config,
    synonyms: request.includeSynonyms ? config.synonyms : [],
    documentation: request.includeDocumentation ? config.documentation : null,
  }
}

/** All settings anew: those that are not named are as usual. */
export async function alterConfigs(
  call: Call,
  { resources, validateOnly }: RequestOf<typeof ALTER_CONFIGS>,
): Promise<ResponseOf<typeof ALTER_CONFIGS>> {
  const results = await Promise.all(
    resources.map(async ({ resourceType, resourceName, configs }) => {
      const changes = configs.map(({ name, value }): Change => [name, value])
      const asked = { resourceType, resourceName, changes, validateOnly }
      const edit = () => changed({}, changes)
      const editGroup = () => changedGroup({}, changes)
      return { ...(await alter(call, { ...asked, edit, editGroup })), resourceType, resourceName }
    }),
  )
  return { throttleTimeMs: 0, results }
}

type Change = readonly [name: string, value: string | null]

function changed(given: TopicSettings, changes: readonly Change[]): TopicSettings | string {
  let now = given
  for (const change of changes) {
    const next = withConfig(now, change)
    if (typeof next === 'string') return next
    now = next
  }
  return now
}

type IncrementalRequest = RequestOf<typeof INCREMENTAL_ALTER_CONFIGS>
type Operation = IncrementalRequest['resources'][number]['configs'][number]

/** Of a list that something is added to, or taken from. */
const NOT_A_VALUE = '\0'
const SET = 0
const DELETE = 1
const APPEND = 2
const SUBTRACT = 3

export async function incrementalAlterConfigs(
  call: Call,
  { resources, validateOnly }: IncrementalRequest,
): Promise<ResponseOf<typeof INCREMENTAL_ALTER_CONFIGS>> {
  const results = await Promise.all(
    resources.map(async ({ resourceType, resourceName, configs }) => {
      const { defaults } = call.services.topics
      // That a setting is to be as usual is so of a broker's already.
      const set = configs.filter(({ operation }) => operation !== DELETE)
      const changes = set.map(({ name, operation, value }): Change => {
        return [name, operation === SET ? value : NOT_A_VALUE]
      })
      const edit = (given: TopicSettings) => operated(given, defaults, configs)
      const editGroup = (given: GroupConfigValues) => operatedGroup(given, configs)
      const asked = { resourceType, resourceName, edit, editGroup, changes, validateOnly }
      return { ...(await alter(call, asked)), resourceType, resourceName }
    }),
  )
  return { throttleTimeMs: 0, results }
}

function operated(
  given: TopicSettings,
  defaults: TopicSettings,
  operations: readonly Operation[],
): TopicSettings | string {
  const twice = namedTwice(operations)
  if (twice !== undefined) return `${twice} is named twice`
  const before = new Map(topicConfigs(given, defaults).map(({ name, value }) => [name, value]))
  const changes: Change[] = []
  for (const { name, operation, value } of operations) {
    const now = before.get(name)?.split(',') ?? []
    const parts = (value ?? '').split(',').map((part) => part.trim())
    const isList = TOPIC_CONFIGS[name]?.type === LIST
    if (operation === DELETE) changes.push([name, null])
    else if (operation === SET) changes.push([name, value ?? ''])
    else if (!isList) return `${name} is no list`
    else if (operation === APPEND) changes.push([name, [...new Set([...now, ...parts])].join(',')])
    else if (operation === SUBTRACT) {
      changes.push([name, now.filter((part) => !parts.includes(part)).join(',')])
    } else return `there is no operation ${operation}`
  }
  return changed(given, changes)
}

function namedTwice(operations: readonly Operation[]): string | undefined {
  const names = operations.map(({ name }) => name)
  return names.find((name, at) => names.indexOf(name) !== at)
}

const LIST = 7

/** Of groups no setting is a list. */
function operatedGroup(
  given: GroupConfigValues,
  operations: readonly Operation[],
): GroupConfigValues {
  const twice = namedTwice(operations)
  if (twice !== undefined) throw new BrokerError('REFUSED', `${twice} is named twice`)
  const changes = operations.map(({ name, operation, value }): Change => {
    if (operation === DELETE) return [name, null]
    if (operation === SET) return [name, value ?? '']
    throw new BrokerError('REFUSED', `${name} is no list`)
  })
  return changedGroup(given, changes)
}

function changedGroup(given: GroupConfigValues, changes: readonly Change[]): GroupConfigValues {
  const all = Object.entries({ ...given, ...Object.fromEntries(changes) })
  return Object.fromEntries(all.filter((one): one is [string, string] => one[1] !== null))
}

interface Alteration extends Resource {
  /** A text is why it cannot be. */
  readonly edit: (given: TopicSettings) => TopicSettings | string
  /** Throws BrokerError. */
  readonly editGroup: (given: GroupConfigValues) => GroupConfigValues
  /** The values that are wished, for whom only asks for what is. */
  readonly changes: readonly Change[]
  readonly validateOnly: boolean
}

async function alter(call: Call, asked: Alteration): Promise<Failure> {
  const refusal = refusalOf(call, asked, 'alter-configs')
  if (refusal !== undefined) return refusal
  if (asked.resourceType === BROKER) return isAsItIs(call, asked) ? FINE : OF_BROKERS
  const { topics, groupConfigs } = call.services
  const { resourceName: name, validateOnly } = asked
  const edit = ({ partitions, config }: TopicShape): TopicShape => {
    const edited = asked.edit(config)
    if (typeof edited === 'string') throw new BrokerError('REFUSED', edited)
    const wrong = topics.refusal({ name, partitions, config: edited })
    if (wrong !== undefined) throw new BrokerError('REFUSED', wrong)
    return { partitions, config: edited }
  }
  try {
    const shape = topics.shape(name)
    if (asked.resourceType === GROUP) {
      await groupConfigs.change(name, asked.editGroup, { validateOnly })
    } else if (validateOnly && shape !== undefined) edit(shape)
    else await topics.alter(name, edit)
    return FINE
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    return failed(CODES[error.code] ?? ERROR.REQUEST_TIMED_OUT, error.message)
  }
}

/** Tools write again what they have read. */
function isAsItIs({ services }: Call, { changes }: Alteration): boolean {
  const now = new Map(brokerConfigs(services).map(({ name, value }) => [name, value]))
  return changes.every(([name, value]) => now.has(name) && now.get(name) === value)
}

const OF_BROKERS = failed(
  ERROR.INVALID_CONFIG,
  'settings of brokers are set by their flags and by robust config',
)
const CODES: Partial<Record<BrokerError['code'], number>> = {
  REFUSED: ERROR.INVALID_CONFIG,
  NOT_FOUND: ERROR.UNKNOWN_TOPIC_OR_PARTITION,
}

export function listConfigResources(
  call: Call,
  { resourceTypes }: RequestOf<typeof LIST_CONFIG_RESOURCES>,
): ResponseOf<typeof LIST_CONFIG_RESOURCES> {
  const { topics, members, groupConfigs } = call.services
  const known = [TOPIC, BROKER, CLIENT_METRICS, GROUP]
  // Before version 1 it is about metrics of clients only.
  const asked = call.header.version === 0 ? [CLIENT_METRICS] : resourceTypes
  const types = asked.length === 0 ? known : asked
  if (!types.every((type) => known.includes(type))) {
    return { throttleTimeMs: 0, errorCode: ERROR.UNSUPPORTED_VERSION, configResources: [] }
  }
  const configResources = types.flatMap((type) => {
    if (type === BROKER) return members.all().map(({ nodeId }) => ({ name: String(nodeId), type }))
    if (type === GROUP) {
      // What is not shown is no attempt that was denied.
      const { access } = call.identity
      const seen = groupConfigs
        .names()
        .filter((name) => access === undefined || access.may('describe-configs', 'group', name))
      return seen.map((name) => ({ name, type }))
    }
    if (type !== TOPIC) return []
    const seen = topics.all().filter(({ name }) => maySee(call, name))
    return seen.map(({ name }) => ({ name, type }))
  })
  return { throttleTimeMs: 0, errorCode: ERROR.NONE, configResources }
}
