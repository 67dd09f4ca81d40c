/** Settings of a broker as Kafka's clients ask for them. They are told, and set elsewhere: by flags and `robust config`. */
import type { Services } from './call.ts'
import {
  CONFIG_SOURCE,
  CONFIG_TYPE,
  type ShownConfig,
  shownConfig,
  TOPIC_CONFIGS,
  topicConfigs,
} from './configs.ts'
import {
  DEFAULT_PARTITIONS,
  FETCH_BYTES_MAX,
  FIRST_REBALANCE_MS,
  MEMBERS_MAX,
  OFFSET_METADATA_BYTES_MAX,
  REQUEST_BYTES_MAX,
  SESSION_MS_MAX,
  SESSION_MS_MIN,
} from './limits.ts'

const { boolean, string, int, list } = CONFIG_TYPE

/** Those of topics that are given none, and what is a broker's alone. */
export function brokerConfigs({ topics, members }: Services): ShownConfig[] {
  const usual = topicConfigs({}, topics.defaults).flatMap((config) => {
    const known = TOPIC_CONFIGS[config.name]
    return known?.synonym === undefined ? [] : [shown(known.synonym, config.value, known)]
  })
  const own = members.find(members.selfNode)
  const address = own === undefined ? '' : `${own.host}:${own.port}`
  return [
    ...usual,
    ...Object.entries(OF_BROKERS).map(([name, [value, type, documentation]]) =>
      shown(name, value, { type, documentation }),
    ),
    shown('broker.id', String(members.self), { type: int, documentation: 'Of this broker.' }),
    shown('node.id', String(members.self), { type: int, documentation: 'Of this broker.' }),
    shown('advertised.listeners', address, {
      ...{ type: string, documentation: 'Where clients of this listener reach it.' },
    }),
  ].sort((one, other) => (one.name < other.name ? -1 : 1))
}

function shown(
  name: string,
  value: string,
  about: { readonly type: number; readonly documentation: string },
): ShownConfig {
  const synonyms = [{ name, value, source: CONFIG_SOURCE.usual }]
  return shownConfig([name, value], about, { readOnly: true, synonyms })
}

const OF_BROKERS: Readonly<Record<string, readonly [value: string, type: number, says: string]>> = {
  'auto.create.topics.enable': ['true', boolean, 'A topic is made when a client asks for it so.'],
  'default.replication.factor': ['1', int, 'Storage keeps the copies.'],
  'delete.topic.enable': ['true', boolean, 'Topics can be deleted.'],
  'fetch.max.bytes': [String(FETCH_BYTES_MAX), int, 'Of one answer to Fetch.'],
  'group.initial.rebalance.delay.ms': [
    ...([String(FIRST_REBALANCE_MS), int, 'A new group waits so long for members.'] as const),
  ],
  'group.max.session.timeout.ms': [String(SESSION_MS_MAX), int, 'Of a member of a group.'],
  'group.max.size': [String(MEMBERS_MAX), int, 'Members of a group.'],
  'group.min.session.timeout.ms': [String(SESSION_MS_MIN), int, 'Of a member of a group.'],
  'num.partitions': [String(DEFAULT_PARTITIONS), int, 'Of a topic that does not say.'],
  'offset.metadata.max.bytes': [String(OFFSET_METADATA_BYTES_MAX), int, 'With one offset.'],
  'process.roles': ['broker', list, 'The Placement Center is a process of its own.'],
  'socket.request.max.bytes': [String(REQUEST_BYTES_MAX), int, 'Of one request.'],
  'super.users': ['', string, 'Users with the tag admin.'],
}
